"""The storage of an evaluator that was given none: it keeps jobs, and makes records of them on demand.

::

    submitted ──► created: the jobs ──► gathered: the jobs ──► by later calls of gather: their values, in columns

A gathered job is the caller's. So that the jobs of a long search do not stay in memory after the caller has dropped
them, later calls of `gather` put the values of some hundred at once into columns (`_gathered_jobs.py`), which costs a
microsecond for each. The call that returns jobs does not: a program that gathers all its jobs at once pays nothing.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._interrupts import defer_signals
from evalpool.evaluator._gathered_jobs import GatheredJobs
from evalpool.jobs._best import best
from evalpool.storage._events import Event
from evalpool.storage._memory import MemoryStorage

if TYPE_CHECKING:
    from evalpool.evaluator._job_events import JobEvents
    from evalpool.jobs._job import Job

__all__ = ["OwnStorage"]

AT_ONCE = 256
"""So many gathered jobs become columns together."""


class OwnStorage(MemoryStorage):
    """A `MemoryStorage` that takes whole jobs from its evaluator.

    Keeping a job costs a tenth of what its events cost, in time and in memory; most programs that give no storage never
    look into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._events: JobEvents | None = None
        self._running: Callable[[], list[Job[Any]]] = list
        self._created: list[Job[Any]] = []  # those that are gathered are removed now and then
        self._in_columns: set[int] = set()  # numbers of those that are to be removed
        self._removals = 0  # how often that was done
        self._gathered: list[Job[Any]] = []  # the last ones; those before are in columns
        self._columns: list[GatheredJobs] = []
        self._ends = [0]  # after each of the columns, how many jobs they all have
        self.take_created = self._created.extend

    def serve(self, events: JobEvents, running: Callable[[], list[Job[Any]]]) -> None:
        """Set what makes the events of jobs, and what returns the jobs that run now."""
        self._events, self._running = events, running

    def take_finished(self, jobs: list[Job[Any]]) -> None:
        """Keep gathered jobs. After an interrupt of this it may be called again with the same jobs."""
        gathered = self._gathered
        if len(gathered) >= AT_ONCE:
            with defer_signals(), self._append_lock:
                self._make_columns(2 * len(jobs))  # so that what waits for this does not grow
        gathered += jobs

    def best(self, n: int) -> list[Job[Any]]:
        """As `evalpool.best`, of the gathered jobs. A job that the program holds is the same object."""
        with self._append_lock:
            places = {job.number: (index, job) for index, job in enumerate(self._from(0))}
        found = best([job for _, job in places.values()], n)
        with self._append_lock:
            for job in found:
                index = places[job.number][0]
                if index < self._ends[-1]:
                    block = bisect(self._ends, index) - 1
                    self._columns[block].hold(index - self._ends[block], job)
        return found

    def read(self, after: Any) -> tuple[list[Event], Any]:
        kept, removals, created, gathered, seen = after or (None, 0, 0, 0, frozenset())
        events, kept = super().read(kept)
        # Nothing tells us of starts. A reader is told of the attempts that run as it reads, each once.
        running = {(job.number, job.attempts): job for job in self._running()}
        with self._append_lock:
            if removals != self._removals:
                created = 0
            new = self._created[created:]
            created += len(new)
            ended = self._from(gathered)
            cursor = kept, self._removals, created, gathered + len(ended), frozenset(running)
        if self._events is not None:
            # The creation of a job may be read twice, which changes nothing.
            events += map(self._events.created, new)
            for number, attempt in running.keys() - seen:
                events.append(self._events.started(running[number, attempt], None, attempt))
            for job in ended:
                events += self._events.created(job), self._events.ended_and_gathered(job)
        return events, cursor

    def _from(self, begin: int) -> list[Job[Any]]:
        """Return the gathered jobs from this one on, in the order of `gather`. Called under the lock."""
        jobs: list[Job[Any]] = []
        last = self._ends[-1]
        while begin < last:
            block = bisect(self._ends, begin) - 1
            columns, first = self._columns[block], self._ends[block]
            jobs += [columns.at(index) for index in range(begin - first, len(columns))]
            begin = self._ends[block + 1]
        return jobs + self._gathered[begin - last :]

    def _make_columns(self, most: int) -> None:
        """Put some gathered jobs into columns, `most` or `AT_ONCE`. Called under the lock, with signals deferred."""
        if self._columns:
            self._columns[-1].forget_dropped()
        for _ in range(0, min(max(most, AT_ONCE), len(self._gathered)), AT_ONCE):
            jobs = self._gathered[:AT_ONCE]
            self._columns.append(GatheredJobs(jobs))
            self._ends.append(self._ends[-1] + len(jobs))
            del self._gathered[: len(jobs)]
            self._in_columns.update([job.number for job in jobs])
        if 2 * len(self._in_columns) >= (count := len(self._created)):  # so that each is looked at twice, on average
            self._created[:count] = [job for job in self._created[:count] if job.number not in self._in_columns]
            self._in_columns.clear()
            self._removals += 1
