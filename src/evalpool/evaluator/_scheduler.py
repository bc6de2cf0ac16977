"""Which ready job goes next: by priority, the higher first; then those that are retried; then in order of submission.

::

    urgent   a heap: of a priority above 0, or retried          first
    fresh    a deque: of priority 0, never retried              then
    later    a heap: of a priority below 0                      last

Nearly all jobs have priority 0 and succeed, so they pass through the deque alone, whose ends cost nothing. A job in
a heap costs O(log n) in the number of those in it.

No lock, no clock: its methods are called under the core's lock. The resources that `queued` lends are the one part of
it that is not ours.
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
        """Lend a job what it needs, as keyword arguments of its run-function; None: not yet, it must wait."""

    def release(self, job: Job[Any]) -> None:
        """Take back what `acquire` lent, from `job._extra`; whatever became of the job."""

    def describe(self, extra: dict[str, Any]) -> dict[str, Any]:
        """What a job's metadata says of what it was lent. In the caller's thread."""


class Scheduler:
    """The ready jobs, in the order in which they get slots.

    A job that ended while it was ready stays in its queue until it is its turn: whoever takes it leaves it out. So to
    cancel a thousand ready jobs is no search through a thousand for each.

    Attributes:
        fresh, urgent, later: the queues, see above; the same objects for ever. Entries of a heap end with their job.
        resources: what is lent to jobs, None for nothing.
    """

    __slots__ = ("fresh", "later", "resources", "urgent")

    def __init__(self, resources: Resources | None = None) -> None:
        self.fresh: deque[Job[Any]] = deque()
        self.urgent: list[tuple[int, bool, int, Job[Any]]] = []
        self.later: list[tuple[int, bool, int, Job[Any]]] = []
        self.resources = resources

    def add(self, jobs: list[Job[Any]]) -> None:
        """Jobs that are ready, in the order of submission."""
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
        """A job that is to be run again: before all others of its priority."""
        self._push(job, retried=True)

    def _push(self, job: Job[Any], retried: bool) -> None:
        priority = job.options.priority
        heapq.heappush(self.later if priority < 0 else self.urgent, (-priority, not retried, job.number, job))

    def first(self) -> Job[Any] | None:
        """The job whose turn it is; it stays in its queue."""
        if self.urgent:
            return self.urgent[0][-1]
        if self.fresh:
            return self.fresh[0]
        return self.later[0][-1] if self.later else None

    def drop_first(self) -> None:
        """Take the `first` out of its queue. It is in another place by now."""
        if self.urgent:
            heapq.heappop(self.urgent)
        elif self.fresh:
            self.fresh.popleft()
        else:
            heapq.heappop(self.later)

    def remove(self, job: Job[Any]) -> bool:
        """Take one job out, wherever it stands; False if it is not here. Costs the jobs that are ready."""
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
        """Nothing is ready any more."""
        self.fresh.clear()
        self.urgent.clear()
        self.later.clear()

    def __iter__(self) -> Iterator[Job[Any]]:
        """The ready jobs, in their order. Costs the jobs that are ready."""
        yield from (entry[-1] for entry in sorted(self.urgent, key=_rank))
        yield from self.fresh
        yield from (entry[-1] for entry in sorted(self.later, key=_rank))

    def __len__(self) -> int:
        return len(self.urgent) + len(self.fresh) + len(self.later)


def _rank(entry: tuple[int, bool, int, Job[Any]]) -> tuple[int, bool, int]:
    return entry[:3]
