"""Numbers for new jobs: unused ones of an interrupted submission, or new ones; and the cap on jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalpool.errors import MaximumJobsSpawnReached
from evalpool.storage._abandoned import abandoned_numbers
from evalpool.storage._counters import refuse

if TYPE_CHECKING:
    from evalpool.evaluator._open_search import OpenSearch

__all__ = ["Numbers"]


class Numbers:
    """The numbers of one evaluator's jobs.

    Attributes:
        cap: how many jobs the search may have, over all clients that set a cap; None for no limit.
        is_exact: the cap is of numbers, whether they have jobs or not.
        spare: numbers that an interrupted submission did not use, as pairs (first, count).
    """

    def __init__(self, search: OpenSearch) -> None:
        self._search, self._search_id, self._reserve = search, search.search_id, search.storage.reserve
        self.cap: int | None = None
        self.is_exact = False
        self.spare: list[tuple[int, int]] = []

    def take(self, n: int) -> int:
        """Take n consecutive numbers for new jobs; return the first. Raises `MaximumJobsSpawnReached`, and takes none.

        The storage's counter counts numbers, exactly. Some may have been taken by owners that died before they recorded
        jobs. Only if the counter refuses, these are counted, and the cap is raised by their number.
        """
        if self.cap is None and not self.spare:
            return self._reserve(self._search_id, n)
        if spare := self.spare:
            for index, (first, count) in enumerate(spare):
                if count >= n:
                    rest = [(first + n, count - n)] if count > n else []
                    spare[index : index + 1] = rest; return first  # noqa: E702  # fmt: skip  # no interrupt between
        storage, search, cap = self._search.storage, self._search.search_id, self.cap
        if cap is None or not storage.durable:
            return storage.reserve(search, n, cap)
        # An owner that recorded a job counts as having no smaller unused number, so the spare ones are dropped first.
        spare.clear()
        try:
            return storage.reserve(search, n, cap)
        except MaximumJobsSpawnReached:
            if self.is_exact:
                raise
            abandoned = abandoned_numbers(storage, search, self._search.owner)
            if not abandoned:
                raise
        try:
            return storage.reserve(search, n, cap + abandoned)
        except MaximumJobsSpawnReached:
            raise refuse(search, storage.reserve(search, 0) - abandoned, n, cap) from None
