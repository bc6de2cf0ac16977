"""Numbers for new jobs: the one rule of `reserve`, and counters in memory."""

from __future__ import annotations

import threading

from evalpool._checks import is_whole
from evalpool.errors import BadArgument, MaximumJobsSpawnReached
from evalpool.storage._base import SEARCHES

__all__ = ["Counters", "check_count", "refuse"]


def check_count(n: int) -> None:
    """Raise `BadArgument` unless n numbers can be taken."""
    if (type(n) is not int and not is_whole(n)) or n < 0:  # the common case costs no call
        raise BadArgument(f"cannot reserve {n!r} numbers; give a whole number that is not negative.")


def refuse(search_id: str, taken: int, n: int, cap: int) -> MaximumJobsSpawnReached:
    """The error that says that n more jobs would exceed the cap."""
    return MaximumJobsSpawnReached(
        f"search {search_id} has {taken} jobs over all its clients and may have {cap}: "
        f"{n} more are {taken + n - cap} too many, so none of them was submitted."
    )


class Counters:
    """The next number of each search, in memory. Any thread."""

    def __init__(self) -> None:
        self._next = {SEARCHES: 0}
        self._lock = threading.Lock()

    def knows(self, search_id: str) -> bool:
        return search_id in self._next

    def take(self, search_id: str, n: int, cap: int | None) -> int:
        """See `Storage.reserve`; the caller has made sure that the search exists."""
        check_count(n)
        with self._lock:
            first = self._next.get(search_id, 0)
            if cap is not None and first + n > cap:
                raise refuse(search_id, first, n, cap)
            self._next[search_id] = first + n
            return first
