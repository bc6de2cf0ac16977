"""The jobs that a backend really evaluates while virtual time decides when they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool.errors import SimulationError
from evalpool.jobs._inbox import Inbox
from evalpool.outcomes import FailureKind, Outcome

if TYPE_CHECKING:
    from evalpool.evaluator._timeline import Underneath
    from evalpool.jobs._job import Job

__all__ = ["HeldResults"]


class HeldResults:
    """What the backend has, and what it gave: real results, which nobody sees before their virtual end.

    Used by one caller at a time, but `ended`.

    Attributes:
        outcomes: by job number.
        alone: numbers of jobs of which each is evaluated while nothing else is.
    """

    def __init__(self) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self.alone: set[int] = set()
        self._inbox = Inbox()
        self._running: set[int] = set()  # job numbers
        self._abandoned: set[int] = set()  # of jobs that run, and whose result nobody wants any more

    def attach(self, underneath: Underneath) -> None:
        """The backend is this one's."""
        self._core, self._wait = underneath.core, underneath.wait

    def start(self, jobs: list[Job[Any]]) -> None:
        """Have the backend evaluate jobs."""
        if jobs:
            for job in jobs:
                self._running.add(job.number)
            if self.alone:
                # What was given up in virtual time may still be evaluated: virtual time alone leaves it not alone.
                self._core.queue([job for job in jobs if job.number in self.alone], self._inbox, alone=True)
                jobs = [job for job in jobs if job.number not in self.alone]
            self._core.queue(jobs, self._inbox)

    def are_running(self, job: Job[Any]) -> bool:
        """Does the backend have this job?"""
        return job.number in self._running

    def take(self) -> list[Job[Any]]:
        """Wait for the backend's next results; those that nobody wants any more are left out."""
        if not self._inbox.outstanding:
            raise SimulationError("Virtual time waits for a result, and no job is being evaluated; this is a bug.")
        self._wait(self._inbox, 1, None)
        with self._core.lock:
            arrived = self._inbox.take()
        wanted = []
        for job in arrived:
            self._running.discard(job.number)
            if job.number in self._abandoned:
                self._abandoned.discard(job.number)
            else:
                wanted.append(job)
        return wanted

    def ended(self, job: Job[Any], outcome: Outcome) -> None:
        """The backend has ended a job; under the core's lock."""
        if job.number in self.alone:
            self._core.ledger.remove_ready(job)  # its turn is over, and its end is yet to come
        if job.number not in self._abandoned:
            self.outcomes[job.number] = outcome
        elif job._outcome is not None:
            # It was stopped in virtual time and has its outcome; this is only a sign that it is off the backend.
            job._status = job._outcome.status
        self._core.put(self._inbox, job)

    def abandon(self, job: Job[Any]) -> bool:
        """Nobody wants the result of this job any more; was it being evaluated?"""
        if job.number not in self._running:
            return False
        self._abandoned.add(job.number)
        self._running.discard(job.number)
        return True

    def stop(self, job: Job[Any]) -> None:
        """Take a job that was abandoned off the backend."""
        core = self._core
        with core.lock:
            if core.ledger.remove_ready(job):  # it waited for a worker
                core.put(self._inbox, job)
            attempt = core.ledger.running.get(job.number)
        if attempt is not None:
            core.stops.stop(attempt, FailureKind.CANCELLED)
