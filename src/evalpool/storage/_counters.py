"""Numbers for new jobs: the checks that every `reserve` makes, and counters in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from evalpool._checks import is_whole
from evalpool._text import shown
from evalpool.errors import BadArgument, CorruptRecord, MaximumJobsSpawnReached
from evalpool.storage._base import SEARCHES
from evalpool.storage._events import LARGEST

__all__ = ["Counters", "check_count", "check_next", "refuse"]


def check_count(n: int) -> None:
    """Raise `BadArgument` unless n numbers can be taken."""
    if (type(n) is not int and not is_whole(n)) or n < 0:
        raise BadArgument(f"cannot reserve {n!r} numbers; give a whole number that is not negative.")


def check_next(first: Any, n: int, place: str) -> int:
    """Return `first`, the next number of a search as read from a store. Raises `CorruptRecord` if it cannot be one.

    It must leave room for `n` numbers up to the largest number that a job may have.
    """
    if type(first) is not int or not 0 <= first <= LARGEST - n:
        raise CorruptRecord(
            f"{place}: the next number for a job is {shown(first)}, and jobs have numbers up to {LARGEST}."
        )
    return first


def refuse(search_id: str, taken: int, n: int, cap: int) -> MaximumJobsSpawnReached:
    """Return the error which says that n more jobs would exceed the cap."""
    return MaximumJobsSpawnReached(
        f"search {search_id} has {taken} jobs over all its clients and may have {cap}: "
        f"{n} more are {taken + n - cap} too many, so none of them was submitted."
    )


class Counters:
    """Keeps the next number of each search in memory. Thread-safe."""

    def __init__(self) -> None:
        self._next = {SEARCHES: 0}
        self._lock = threading.Lock()
        self.knows: Callable[[str], bool] = self._next.__contains__

    def take(self, search_id: str, n: int, cap: int | None) -> int:
        """See `Storage.reserve`; the caller has made sure that the search exists."""
        if type(n) is not int or n < 0:  # the common case costs no call
            check_count(n)
        with self._lock:
            first = self._next.get(search_id, 0)
            if cap is not None and first + n > cap:
                raise refuse(search_id, first, n, cap)
            self._next[search_id] = first + n
            return first
