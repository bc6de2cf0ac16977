"""Which ready job runs next: the one with the highest priority; then retried jobs; then the order of submission.

::

    urgent   a heap: priority above 0, or retried          first
    fresh    a deque: priority 0, not retried              then
    later    a heap: priority below 0                      last

Nearly all jobs have priority 0 and succeed, so they pass only through the deque, in constant time. A job in a heap
costs O(log n), where n is the size of the heap.

No lock, no clock: the methods are called under the core's lock. Only the resources that `queued` lends may be foreign
code.
"""

from __future__ import annotations

import contextlib
import heapq
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from evalpool.jobs._options import NO_OPTIONS

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["Resources", "Scheduler"]


class Resources(Protocol):
    """What is lent to jobs while they run. `acquire` and `release` are called under the core's lock."""

    def acquire(self, job: Job[Any]) -> dict[str, Any] | None:
        """Lend a job what it needs, as keyword arguments of its run-function; None if it must wait."""

    def release(self, job: Job[Any]) -> None:
        """Take back what `acquire` lent, from `job._extra`, however the job ended."""

    def describe(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Return what a job's metadata says of its resources. In the caller's thread."""


class Scheduler:
    """The ready jobs, in the order in which they get slots.

    A job that ended while it was ready stays in its queue until it would be next; then it is skipped. So cancelling a
    ready job does not search the queue.

    Attributes:
        fresh, urgent, later: the queues, see above; never replaced. The last item of an entry in a heap is its job.
        resources: what is lent to jobs, or None.
    """

    __slots__ = ("fresh", "later", "resources", "urgent")

    def __init__(self, resources: Resources | None = None) -> None:
        self.fresh: deque[Job[Any]] = deque()
        self.urgent: list[tuple[int, bool, int, Job[Any]]] = []
        self.later: list[tuple[int, bool, int, Job[Any]]] = []
        self.resources = resources

    def add(self, jobs: list[Job[Any]]) -> None:
        """Add ready jobs, in the order of submission."""
        for job in jobs:
            if job.options is not NO_OPTIONS:
                break
        else:
            self.fresh.extend(jobs)
            return
        for job in jobs:
            if job.options.priority:
                self._push(job, retried=False)
            else:
                self.fresh.append(job)

    def add_retried(self, job: Job[Any]) -> None:
        """Add a job that is to be run again: before all jobs of its priority that are not retried."""
        self._push(job, retried=True)

    def _push(self, job: Job[Any], retried: bool) -> None:
        priority = job.options.priority
        heapq.heappush(self.later if priority < 0 else self.urgent, (-priority, not retried, job.number, job))

    def first(self) -> Job[Any] | None:
        """Return the next job, or None; it stays in its queue."""
        if self.urgent:
            return self.urgent[0][-1]
        if self.fresh:
            return self.fresh[0]
        return self.later[0][-1] if self.later else None

    def drop_first(self) -> None:
        """Remove the `first` job from its queue. The caller has put it elsewhere before."""
        if self.urgent:
            heapq.heappop(self.urgent)
        elif self.fresh:
            self.fresh.popleft()
        else:
            heapq.heappop(self.later)

    def remove(self, job: Job[Any]) -> bool:
        """Remove a job from its queue; False if it is in none. Costs the jobs that are ready."""
        with contextlib.suppress(ValueError):
            self.fresh.remove(job)
            return True
        for heap in (self.urgent, self.later):
            for index, entry in enumerate(heap):
                if entry[-1] is job:
                    del heap[index]
                    heapq.heapify(heap)
                    return True
        return False

    def clear(self) -> None:
        """Remove all jobs."""
        self.fresh.clear()
        self.urgent.clear()
        self.later.clear()

    def __iter__(self) -> Iterator[Job[Any]]:
        """Yield the ready jobs, in their order. Costs the jobs that are ready."""
        yield from (entry[-1] for entry in sorted(self.urgent, key=_rank))
        yield from self.fresh
        yield from (entry[-1] for entry in sorted(self.later, key=_rank))

    def __len__(self) -> int:
        return len(self.urgent) + len(self.fresh) + len(self.later)


def _rank(entry: tuple[int, bool, int, Job[Any]]) -> tuple[int, bool, int]:
    return entry[:3]
