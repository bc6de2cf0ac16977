"""The jobs that wait for virtual workers: the higher priority first, and of equals who came first.

Nearly all jobs have priority 0 and pass through a deque, whose ends cost nothing. The others are in a heap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator
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

    def first(self, ended: Container[int]) -> int | None:
        """Whose turn it is; those that have ended while they waited leave. None if nobody waits."""
        plain, ranked = self._plain, self._ranked
        while ranked or plain:
            job = ranked[0][2] if ranked and (ranked[0][0] < 0 or not plain) else plain[0]
            if job not in ended:
                return job
            self.popleft()
        return None

    def popleft(self) -> int:
        plain, ranked = self._plain, self._ranked
        return heappop(ranked)[2] if ranked and (ranked[0][0] < 0 or not plain) else plain.popleft()

    def __len__(self) -> int:
        return len(self._plain) + len(self._ranked)

    def __iter__(self) -> Iterator[int]:
        """In their order."""
        ranked = sorted(self._ranked)
        yield from (job for rank, _, job in ranked if rank < 0)
        yield from self._plain
        yield from (job for rank, _, job in ranked if rank > 0)
