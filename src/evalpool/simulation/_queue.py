"""The jobs that wait for virtual workers: the highest priority first, then retried jobs, then the order of submission.
Jobs that must run alone come last.

Nearly all jobs have priority 0 and succeed, so they pass through a deque, in constant time. The others are in a heap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator
from heapq import heappop, heappush

__all__ = ["Queue"]


class Queue:
    """A queue of job numbers.

    Attributes:
        priorities: of the jobs whose priority is not 0, also while they do not wait.
        alone: jobs that must each run while no other job does, also while they do not wait.
    """

    __slots__ = ("_last", "_plain", "_ranked", "alone", "priorities")

    def __init__(self) -> None:
        self.priorities: dict[int, int] = {}
        self.alone: set[int] = set()
        self._plain: deque[int] = deque()
        self._ranked: list[tuple[int, bool, int]] = []  # a heap: (- priority, is its first attempt, job)
        self._last: deque[int] = deque()  # of those in `alone`

    def append(self, job: int) -> None:
        """Add a job for its first attempt."""
        if job in self.alone:
            self._last.append(job)
        elif job in self.priorities:
            heappush(self._ranked, (-self.priorities[job], True, job))
        else:
            self._plain.append(job)

    def append_again(self, job: int) -> None:
        """Add a job for a further attempt, before other jobs of its priority."""
        if job in self.alone:
            self._last.appendleft(job)
        else:
            heappush(self._ranked, (-self.priorities.get(job, 0), False, job))

    def first(self, ended: Container[int]) -> int | None:
        """Return the next job, or None; remove jobs that ended while they waited."""
        plain, ranked, last = self._plain, self._ranked, self._last
        while ranked or plain or last:
            if ranked and (ranked[0][0] <= 0 or not plain):  # with priority 0, only retried jobs are in the heap
                job = ranked[0][2]
            else:
                job = plain[0] if plain else last[0]
            if job not in ended:
                return job
            self.popleft()
        return None

    def popleft(self) -> int:
        plain, ranked = self._plain, self._ranked
        if ranked and (ranked[0][0] <= 0 or not plain):
            return heappop(ranked)[2]
        return plain.popleft() if plain else self._last.popleft()

    def coming_again(self) -> list[int]:
        """Return the waiting jobs that are retried, without those in `alone`, whose order contains that."""
        return sorted(job for _, is_first, job in self._ranked if not is_first)

    def __len__(self) -> int:
        return len(self._plain) + len(self._ranked) + len(self._last)

    def __iter__(self) -> Iterator[int]:
        """Yield the jobs in their order."""
        ranked = sorted(self._ranked)
        yield from (job for rank, _, job in ranked if rank <= 0)
        yield from self._plain
        yield from (job for rank, _, job in ranked if rank > 0)
        yield from self._last
