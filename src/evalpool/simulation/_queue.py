"""The jobs that wait for virtual workers: the higher priority first, and of equals who came first.

Nearly all jobs have priority 0 and pass through a deque, whose ends cost nothing. The others are in a heap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

__all__ = ["Queue"]


class Queue:
    """Numbers of jobs. A job that comes again, to be run again, stands behind its equals.

    Attributes:
        priorities: of the jobs whose priority is not 0, also while they do not wait.
    """

    __slots__ = ("_count", "_plain", "_ranked", "priorities")

    def __init__(self) -> None:
        self.priorities: dict[int, int] = {}
        self._plain: deque[int] = deque()
        self._ranked: list[tuple[int, int, int]] = []  # a heap: (- priority, place in the order of coming, job)
        self._count = 0

    def append(self, job: int) -> None:
        priority = self.priorities.get(job)
        if priority is None:
            self._plain.append(job)
        else:
            heappush(self._ranked, (-priority, self._count, job))
            self._count += 1

    @property
    def first(self) -> int:
        """Whose turn it is. There must be one."""
        return self._ranked[0][2] if self._is_ranked() else self._plain[0]

    def popleft(self) -> int:
        return heappop(self._ranked)[2] if self._is_ranked() else self._plain.popleft()

    def _is_ranked(self) -> bool:
        ranked = self._ranked
        return bool(ranked) and (ranked[0][0] < 0 or not self._plain)

    def __len__(self) -> int:
        return len(self._plain) + len(self._ranked)

    def __iter__(self) -> Iterator[int]:
        """In their order."""
        ranked = sorted(self._ranked)
        yield from (job for rank, _, job in ranked if rank < 0)
        yield from self._plain
        yield from (job for rank, _, job in ranked if rank > 0)
