"""Numbers for new jobs: of those that an interrupted submission left, or new ones; and a cap that counts jobs."""

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
        spare: numbers that an interrupted submission left, each as the first and how many.
    """

    def __init__(self, search: OpenSearch) -> None:
        self._search = search
        self.cap: int | None = None
        self.spare: list[tuple[int, int]] = []

    def take(self, n: int) -> int:
        """The first of n numbers for new jobs. Raises `MaximumJobsSpawnReached`; then none is taken.

        The storage's counter counts numbers, exactly and at once. Only where it refuses is it asked which were taken
        by owners that died before they recorded jobs: the cap is higher by these.
        """
        spare = self.spare
        if spare:
            for index, (first, count) in enumerate(spare):
                if count >= n:
                    rest = [(first + n, count - n)] if count > n else []
                    spare[index : index + 1] = rest; return first  # noqa: E702  # fmt: skip  # no interrupt between
        storage, search, cap = self._search.storage, self._search.search_id, self.cap
        if cap is None or not storage.durable:
            return storage.reserve(search, n, cap)
        # Who has recorded a job holds no smaller number: what an interrupted submission left is given up before.
        spare.clear()
        try:
            return storage.reserve(search, n, cap)
        except MaximumJobsSpawnReached:
            abandoned = abandoned_numbers(storage, search, self._search.owner)
            if not abandoned:
                raise
        try:
            return storage.reserve(search, n, cap + abandoned)
        except MaximumJobsSpawnReached:
            raise refuse(search, storage.reserve(search, 0) - abandoned, n, cap) from None
