"""Where each job stands between its submission and its end, and how many slots are free: a pure state machine.

::

    accept            take                            end
    ───────► ready ─────────► running: an Attempt ─────────► removed: the core delivers its outcome
               ▲                    │   │ disown
               └────────────────────┘   └───────► disowned: given up on, holds its slot until the engine reports it
                       retry

No lock, no clock, no I/O: all methods are called under the core's lock, and the only foreign code that they call is the
scheduler's resources. What those raise becomes a job's failure, or goes into `troubles`, to be logged when the lock is
free.

If a step is left halfway by an error (an interrupt, a fault of ours), every job is still in some container, and
`recount` corrects the number of free slots.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from evalpool._guard import describe
from evalpool.evaluator._attempt import Attempt
from evalpool.evaluator._scheduler import Resources, Scheduler
from evalpool.jobs._options import NO_OPTIONS
from evalpool.outcomes import FINAL, FailureKind, JobStatus, Outcome, failed

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["JobLedger"]

READY, RUNNING = JobStatus.READY, JobStatus.RUNNING


class JobLedger:
    """The jobs of one evaluator that have not ended, and its slots.

    Args:
        slots: how many jobs run at the same time.
        retries: by kind of failure, after how many failures a job is still run again.
        job_timeout: seconds that an attempt may run, or None.
        resources: what is lent to jobs while they run.

    Attributes:
        scheduler: the ready jobs. `fresh`, `urgent` and `later` are its queues.
        last_chances: ready jobs that each run alone, while no other job runs.
        running: the current attempt of each job that has a slot, by the job's number.
        disowned: attempts that were given up on and still hold their slots.
        own_limits: whether the time limits of single jobs apply here; False in simulated time.
        capacity, free: the number of all slots, and of the free ones.
        handing: the attempts of the last `take`, until the core has handed them to the engine.
        troubles: errors that were raised under the lock: (what was being done, the error).
    """

    __slots__ = (
        "capacity",
        "disowned",
        "free",
        "fresh",
        "handing",
        "job_timeout",
        "last_chances",
        "later",
        "own_limits",
        "retries",
        "running",
        "scheduler",
        "troubles",
        "urgent",
    )

    def __init__(
        self,
        slots: int,
        *,
        retries: Mapping[FailureKind, int] | None = None,
        job_timeout: float | None = None,
        resources: Resources | None = None,
    ) -> None:
        self.capacity = self.free = slots
        self.retries = retries or {}
        self.job_timeout = job_timeout
        self.own_limits = True
        self.scheduler = Scheduler(resources)
        self.fresh, self.urgent, self.later = self.scheduler.fresh, self.scheduler.urgent, self.scheduler.later
        self.last_chances: deque[Job[Any]] = deque()
        self.running: dict[int, Attempt] = {}
        self.disowned: set[Attempt] = set()
        self.handing: list[Attempt] = []
        self.troubles: deque[tuple[str, BaseException]] = deque()

    # Jobs that are ready.

    def accept(self, jobs: list[Job[Any]]) -> None:
        """Add new jobs, in the order of submission."""
        self.scheduler.add(jobs)

    def accept_last_chances(self, jobs: Iterable[Job[Any]]) -> None:
        """Add jobs that may have ended earlier evaluators: each runs alone."""
        self.last_chances.extend(jobs)

    def ready(self) -> list[Job[Any]]:
        """The jobs that wait for a slot, each once, in their order. Costs the jobs that are ready."""
        waiting = dict.fromkeys((*self.scheduler, *self.last_chances))
        return [job for job in waiting if job._outcome is None and job.number not in self.running]

    def running_jobs(self) -> list[Job[Any]]:
        """The jobs that have a slot now. Any thread, without the lock: it costs one copy."""
        return [attempt.job for attempt in self.running.copy().values()]

    def remove_ready(self, job: Job[Any]) -> bool:
        """Remove a ready job, without an outcome; False if it is not ready. Costs the jobs that are ready."""
        found = self.scheduler.remove(job)
        if job in self.last_chances:
            self.last_chances.remove(job)
            found = True
        return found

    def remove_all_ready(self) -> list[Job[Any]]:
        """Remove all ready jobs; returns them, in their order."""
        jobs = self.ready()
        self.scheduler.clear()
        self.last_chances.clear()
        return jobs

    # Slots.

    def take(self) -> tuple[list[Attempt], list[tuple[Job[Any], Outcome]]]:
        """Give free slots to ready jobs, in the scheduler's order.

        Returns:
            The attempts, which now count as running; and the jobs that could not start, with their outcomes.
        """
        attempts: list[Attempt] = []
        unable: list[tuple[Job[Any], Outcome]] = []
        chance = None
        if self.last_chances:
            if not self._may_take():
                return attempts, unable
            chance = self.last_chances[0] if self.last_chances else None
        self.handing = attempts
        scheduler, fresh, urgent, later, running = self.scheduler, self.fresh, self.urgent, self.later, self.running
        lends, timeout, free = scheduler.resources, self.job_timeout, self.free
        try:
            while free > 0:
                ranked = urgent or later
                if ranked:
                    job = scheduler.first()
                    assert job is not None
                elif fresh:
                    job = fresh[0]
                else:
                    break
                if job is chance and (running or self.disowned):
                    break  # it waits until no other job runs
                if job._outcome is None:  # else it was cancelled while it was ready
                    if lends is not None:
                        lent = self._lend(lends, job)
                        if lent is None:
                            break
                        if isinstance(lent, Outcome):
                            unable.append((job, lent))
                            scheduler.drop_first()
                            continue
                    job.attempts += 1
                    options = job.options
                    limit = timeout if options is NO_OPTIONS or not self.own_limits else options.limit(timeout)
                    attempt = Attempt(job, limit)
                    attempts.append(attempt)
                    job._status = RUNNING
                    running[job.number] = attempt
                    free -= 1
                # Only now it leaves its queue, so that it is always in some container.
                if ranked:
                    scheduler.drop_first()
                else:
                    fresh.popleft()
                if job is chance:
                    break
        finally:
            self.free = free
        return attempts, unable

    def _lend(self, resources: Resources, job: Job[Any]) -> Outcome | bool | None:
        """Lend resources to a job: True if that worked, None if the job must wait, its outcome if lending raised."""
        try:
            extra = resources.acquire(job)
        except Exception as error:  # noqa: BLE001  code that is not ours; its failure is that of the job
            job.attempts += 1
            text = f"Lending resources to the job raised, so it could not start.\n{describe(error)}"
            return failed(FailureKind.WORKER_DIED, text)
        if extra is None:
            return None
        job._extra = extra
        return True

    def _may_take(self) -> bool:
        """Whether jobs may start: not while a job runs its last chance, alone. Makes the next such job ready if it can
        run alone.
        """
        waiting = self.last_chances
        while waiting and waiting[0]._status in FINAL:
            waiting.popleft()
        if waiting and waiting[0].number not in self.running:
            if self.free > 0 and not (self.scheduler or self.running or self.disowned):
                self.fresh.append(waiting[0])
            return True
        return not waiting

    def add_slots(self, change: int) -> None:
        """Change the capacity by `change` slots, which may be negative."""
        self.capacity += change
        self.free += change

    def recount(self, capacity: int | None = None) -> None:
        """Compute the number of free slots anew, from the running and disowned attempts."""
        if capacity is not None:
            self.capacity = capacity
        self.free = self.capacity - len(self.running) - len(self.disowned)

    # Ends of attempts.

    def end(self, attempt: Attempt) -> bool:
        """End an attempt: free its slot and take back its resources.

        Returns:
            Whether its outcome counts: not if it was given up on, or had ended before.
        """
        number = attempt.job.number
        if self.running.get(number) is attempt:
            del self.running[number]
            self.free += 1
            if self.scheduler.resources is not None:
                self._take_back(attempt)
            return True
        if attempt in self.disowned:
            self.disowned.remove(attempt)
            self.free += 1
            if self.scheduler.resources is not None:
                self._take_back(attempt)
        return False

    def _take_back(self, attempt: Attempt) -> None:
        resources = self.scheduler.resources
        if resources is not None:
            try:
                resources.release(attempt.job)
            except Exception as error:  # noqa: BLE001  code that is not ours; logged when the lock is free
                self.troubles.append((f"Taking back the resources of job {attempt.job.id}", error))

    def end_after_error(self, attempt: Attempt) -> None:
        """As `end`, after an error during `end`, which may have done any part of its work."""
        if self.running.get(attempt.job.number) is attempt:
            del self.running[attempt.job.number]
        self.disowned.discard(attempt)
        self.recount()

    def give_up_handing(self) -> list[Attempt]:
        """End all attempts that were being handed to the engine: that failed, and it is not known for which."""
        handed, self.handing = self.handing, []
        ended = [attempt for attempt in handed if self.end(attempt)]
        self.recount()
        return ended

    def disown(self, attempt: Attempt) -> bool:
        """Give up on an attempt that does not stop. Its slot and its resources stay taken until its `end`.

        Returns:
            False if it is not running any more.
        """
        number = attempt.job.number
        if self.running.get(number) is not attempt:
            return False
        self.disowned.add(attempt)
        del self.running[number]
        return True

    def retry(self, job: Job[Any], outcome: Outcome) -> bool:
        """Make a job whose attempt has failed ready again, if it has retries left; whether that was done."""
        if not self.may_retry(job, outcome):
            return False
        job._stop = job._started = job._stopper = None
        job._status = READY
        self.scheduler.add_retried(job)
        return True

    def may_retry(self, job: Job[Any], outcome: Outcome) -> bool:
        """Whether a job that failed like this has another attempt; if so, its error is noted.

        A job that was asked to stop for another reason than its timeout has none.
        """
        kind = outcome.kind
        if kind is None or not (allowed := self.retries.get(kind, 0)):
            return False
        if job._stop is not None and job._stop is not FailureKind.TIMEOUT:
            return False
        errors = job._errors
        if errors is None:
            errors = job._errors = []
        prefix = f"[{kind.value}]"
        if sum(error.startswith(prefix) for error in errors) >= allowed:
            return False
        errors.append(f"{prefix} {outcome.error or outcome.objective}")
        return True

    def forget(self) -> None:
        """In a forked child: drop all jobs; they are the parent's."""
        self.remove_all_ready()
        self.running.clear()
        self.disowned.clear()
        self.handing = []
        self.recount()
