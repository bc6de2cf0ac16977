"""The jobs that a backend evaluates in real time, and whose results are kept until their virtual end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool.errors import SimulationError
from evalpool.jobs._inbox import Inbox
from evalpool.outcomes import FailureKind, Outcome

if TYPE_CHECKING:
    from evalpool.evaluator._timeline import EvaluatorAccess
    from evalpool.jobs._job import Job

__all__ = ["HeldResults"]


class HeldResults:
    """The jobs that the backend evaluates, and their real results, which are not shown before their virtual end.

    One thread at a time calls the methods; any thread may call `ended`.

    Attributes:
        outcomes: the real outcomes, by job number.
        alone: numbers of jobs that must each be evaluated while no other job is.
    """

    def __init__(self) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self.alone: set[int] = set()
        self._inbox = Inbox()
        self._running: set[int] = set()  # job numbers
        self._abandoned: set[int] = set()  # numbers of running jobs whose results are not needed any more

    def attach(self, access: EvaluatorAccess) -> None:
        """Connect to the evaluator whose backend runs the jobs."""
        self._core, self._wait = access.core, access.wait

    def start(self, jobs: list[Job[Any]]) -> None:
        """Have the backend evaluate jobs."""
        if jobs:
            for job in jobs:
                self._running.add(job.number)
            if self.alone:
                # A job that was given up in virtual time may still be evaluated, so the backend must ensure it, too.
                self._core.queue([job for job in jobs if job.number in self.alone], self._inbox, alone=True)
                jobs = [job for job in jobs if job.number not in self.alone]
            self._core.queue(jobs, self._inbox)

    def are_running(self, job: Job[Any]) -> bool:
        """Whether the backend has this job."""
        return job.number in self._running

    def take(self) -> list[Job[Any]]:
        """Wait for the backend's next results; return their jobs, without abandoned ones."""
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
        """Take the outcome of a job that the backend has ended; under the core's lock."""
        if job.number in self.alone:
            self._core.ledger.remove_ready(job)  # the ledger keeps it in `last_chances` until its end
        if job.number not in self._abandoned:
            self.outcomes[job.number] = outcome
        elif job._outcome is not None:
            # It was stopped in virtual time and has its outcome; now the backend does not run it any more either.
            job._status = job._outcome.status
        self._core.put(self._inbox, job)

    def abandon(self, job: Job[Any]) -> bool:
        """Note that the result of this job is not needed any more; return whether the backend has it."""
        if job.number not in self._running:
            return False
        self._abandoned.add(job.number)
        self._running.discard(job.number)
        return True

    def stop(self, job: Job[Any]) -> None:
        """Stop an abandoned job on the backend."""
        core = self._core
        with core.lock:
            if core.ledger.remove_ready(job):  # it waited for a worker
                core.put(self._inbox, job)
            attempt = core.ledger.running.get(job.number)
        if attempt is not None:
            core.stops.stop(attempt, FailureKind.CANCELLED)
