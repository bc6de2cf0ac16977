"""The storage of an evaluator that was given none: it keeps the jobs, and makes records of them on demand.

::

    submitted ──► waiting: the job ──► gathered: the job  ──► packed: its values
                                             ▲      nobody else holds it │
                                             └───────────────────────────┘
                                              it is one of the best: asked for

A gathered job that the caller has dropped cannot be told from one that is made of the same values. So its values are
kept instead, which take a quarter of the memory. Later calls of `gather` take them, of some hundred jobs at once.
"""

from __future__ import annotations

import sys
import threading
import weakref
from array import array
from collections import deque
from typing import TYPE_CHECKING, Any

from evalpool.evaluator._packed_jobs import PackedJobs
from evalpool.jobs._best import best
from evalpool.storage._events import Event
from evalpool.storage._memory import MemoryStorage

if TYPE_CHECKING:
    from evalpool.evaluator._job_events import JobEvents
    from evalpool.jobs._job import Job

__all__ = ["OwnStorage"]

AT_ONCE = 128
"""So many gathered jobs are awaited before they are examined, all at once, which costs less for each."""


def _references(gathered: list[Any], index: int) -> int:
    getrefcount = sys.getrefcount
    return getrefcount(gathered[index])


_ALONE = _references([object()], 0)
"""References to an object that only a list holds, as this version of Python counts them."""


class OwnStorage(MemoryStorage):
    """A `MemoryStorage` that takes whole jobs from its evaluator.

    Keeping a job costs a tenth of what its events cost, in time and in memory; most programs that give no storage never
    look into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._events: JobEvents | None = None
        self._created = array("q")  # the numbers of all jobs, in the order of submission
        self._waiting: dict[int, Job[Any]] = {}
        self._gathered: list[Job[Any] | None] = []  # in the order of `gather`; None: packed
        self._places = array("q")  # where each of them is in `_packed`
        self._packed = PackedJobs()
        self._examined = 0  # so many of `_gathered` are packed, or in `_held`
        self._held: deque[int] = deque()  # those of `_gathered` that somebody held when they were examined
        self._packing = threading.Lock()

    def serve(self, events: JobEvents) -> None:
        """Set what makes the events of jobs."""
        self._events = events

    def take_created(self, jobs: list[Job[Any]]) -> None:
        """Keep submitted jobs."""
        waiting, created = self._waiting, self._created
        for job in jobs:
            waiting[job.number] = job
            created.append(job.number)

    def take_finished(self, jobs: list[Job[Any]]) -> None:
        """Keep gathered jobs. May be called again after an interrupt."""
        waiting, gathered, before = self._waiting, self._gathered, len(self._gathered)
        for job in jobs:
            if waiting.get(job.number) is job:
                gathered.append(job)
                del waiting[job.number]
        if before - self._examined >= AT_ONCE:
            self._pack(before)

    def best(self, n: int) -> list[Job[Any]]:
        """As `evalpool.best`, of the gathered jobs. A job that was returned before is the same object again."""
        gathered = self._gathered
        jobs = [self._at(index) for index in range(len(gathered))]
        found = best(jobs, n)
        chosen = set(map(id, found))
        for index, job in enumerate(jobs):
            if id(job) in chosen:
                gathered[index] = job  # the user may set attributes of it
        return found

    def read(self, after: Any) -> tuple[list[Event], Any]:
        kept, created, gathered = after or (None, 0, 0)
        events, kept = super().read(kept)
        # In this order: whatever is created or gathered meanwhile, a job that is not found waiting was gathered since.
        end = len(self._gathered)
        numbers = self._created[created:]
        jobs = [self._waiting.get(number) for number in numbers]
        news = [self._at(index) for index in range(gathered, len(self._gathered))]
        if self._events is not None:
            by_number = {job.number: job for job in news}
            found = (job or by_number[number] for number, job in zip(numbers, jobs, strict=True))
            events += map(self._events.created, found)
            events += map(self._events.ended_and_gathered, news[: end - gathered])
        return events, (kept, created + len(numbers), end)

    def _at(self, index: int) -> Job[Any]:
        job = self._gathered[index]
        return self._packed.get(self._places[index]) if job is None else job

    def _pack(self, end: int) -> None:
        """Pack jobs before `end` that nobody holds: of those not examined yet, and as many of those held before."""
        if self._packing.acquire(blocking=False):  # else another thread packs jobs
            try:
                if (new := len(self._gathered) - len(self._places)) > 0:
                    self._places.frombytes(bytes(new * self._places.itemsize))
                indices = list(range(self._examined, min(end, self._examined + 2 * AT_ONCE)))
                again = [self._held.popleft() for _ in range(min(len(indices), len(self._held)))]
                self._examined += len(indices)
                self._held.extend(self._pack_some(indices + again))
            finally:
                self._packing.release()

    def _pack_some(self, indices: list[int]) -> list[int]:
        """Pack those of these jobs that can be packed; return those that somebody holds."""
        gathered, places, packed, held = self._gathered, self._places, self._packed, []
        packed.forget_unfinished()
        add, getrefcount, getweakrefcount = packed.add, sys.getrefcount, weakref.getweakrefcount
        for index in indices:
            if getrefcount(gathered[index]) > _ALONE:
                held.append(index)
            elif (job := gathered[index]) is not None:
                if getweakrefcount(job):
                    held.append(index)
                elif add(job):
                    places[index] = len(packed) - 1
                    gathered[index] = None
        return held
