"""The timeline of an evaluator whose completions come in the order of virtual time.

::

    accept ─► kernel.submit ─► a virtual worker is idle: kernel.start ─► the real backend evaluates
    wait   ─► kernel.step ─► WAIT: take real results, kernel.finish ─► a job's virtual end ─► inbox

The real backend is that of any evaluator, with its slots, its supervision and its failures. But its finished jobs do
not go to the caller's inbox; they go to an inbox of ours, and from there to the kernel. Only the caller's thread uses
the kernel, under one lock, so nothing depends on the order in which real results arrive.
"""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool.errors import BadArgument
from evalpool.evaluator._settings import is_complete, with_stopped_early
from evalpool.jobs._utilisation import lane_of
from evalpool.outcomes import FailureKind, JobStatus, Outcome, Worker, failed
from evalpool.simulation._checkpoints import Configurations
from evalpool.simulation._evaluations import HeldResults
from evalpool.simulation._kernel import MARK, NOTHING, RETRIED, UP, WAIT, Kernel
from evalpool.simulation._losses import lost
from evalpool.simulation._runtimes import judged, runtime_of, timestamps
from evalpool.simulation._seconds import check_runtime
from evalpool.simulation._virtual_records import VirtualRecords
from evalpool.simulation._virtual_resources import VirtualResources
from evalpool.worker._call import SEED_NUMBER, describe_exception

if TYPE_CHECKING:
    from evalpool.evaluator._timeline import EvaluatorAccess
    from evalpool.jobs._inbox import Inbox
    from evalpool.jobs._job import Job

__all__ = ["VirtualTime"]


class VirtualTime:
    """A `Timeline` of virtual seconds.

    Args:
        kernel: a new one.
        runtime: where to find a job's runtime; see `runtime_of`.
        runtime_before: a function of the configuration, for runtimes known before the evaluation; or None.
        fidel_key: the name of the fidelity in the configuration, for continuation; or None.
        curve: the key of the output that holds the job's learning curve; or None.

    Attributes:
        lock: lets one caller at a time use the kernel and the state that depends on it.
        submit_to_kernel: submits a job to the kernel, and returns its number there. A search that asks for jobs itself
            replaces it.
        moment: the virtual time of the current submission, if that is not the kernel's clock.
    """

    can_suspend = False
    may_await = False  # virtual time does not wait for other programs

    def __init__(
        self,
        kernel: Kernel,
        runtime: str | Callable[[Any, Any], Any],
        runtime_before: Callable[[dict[str, Any]], float] | None = None,
        fidel_key: str | None = None,
        curve: str | None = None,
    ) -> None:
        self.kernel = kernel
        self.num_workers = kernel.num_workers
        self.runtime = runtime
        self.fidel_key = fidel_key
        self.curve = curve
        self.timeout: float | None = None
        self.lock = threading.RLock()
        self.submit_to_kernel = self._queue
        self.moment: float | None = None
        self._runtime_before = runtime_before
        self._configurations = Configurations()
        self._evaluations = HeldResults()
        self._records = VirtualRecords(curve)
        self.ended = self._evaluations.ended
        self.recorded = self._records.recorded
        self._resources = VirtualResources()
        self._jobs: dict[int, Job[Any]] = {}  # by the kernel's number: jobs that are not delivered yet
        self._numbers: dict[int, int] = {}  # job number -> the kernel's
        self._late_outcomes: dict[int, Outcome] = {}  # by job number, of jobs evaluated after their end was known
        self._to_retry: set[int] = set()  # numbers of jobs whose present attempt will fail and be run again
        self._budget_end = math.inf
        self._closed = False

    def attach(self, access: EvaluatorAccess) -> None:
        self._access, self._core = access, access.core
        self._evaluations.attach(access)
        self._resources.attach(access)

    # Time.

    def now(self) -> float:
        """Return the kernel's clock, or `moment`."""
        return self.kernel.clock if self.moment is None else self.moment

    def advance(self, seconds: float) -> None:
        """Let virtual time pass, and jobs end meanwhile. Raises `BadArgument` if it goes backwards."""
        step = check_runtime(seconds)
        if isinstance(step, str):
            raise BadArgument(f"advance got {seconds!r}; give 0 or more seconds, since time only goes forward.")
        with self.lock:
            target = self.kernel.clock + step
            while self._step(target):
                pass
            if self.kernel.clock < target:
                self.kernel.advance(target)

    def facts(self, job: Job[Any]) -> dict[str, Any] | None:
        return {**self._resources.describe(job), **(job._virtual or {})} or None

    def timestamps(self, job: Job[Any]) -> dict[str, float | None]:
        return timestamps(job._virtual or {}, job._submitted, job._gathered)

    # Jobs come.

    def check(self, configurations: list[dict[str, Any]]) -> None:
        if self.fidel_key is not None:
            for configuration in configurations:
                self._identify(configuration)

    def _identify(self, configuration: dict[str, Any]) -> tuple[str | None, int | None]:
        """Return a configuration's key and its fidelity; None, None without continuation."""
        if self.fidel_key is None:
            return None, None
        return self._configurations.identify(configuration, self.fidel_key)

    def _queue(self, job: Job[Any]) -> int:
        return self.kernel.submit(*self._identify(job.args), job.options)

    def _queue_alone(self, job: Job[Any]) -> int:
        self._evaluations.alone.add(job.number)
        return self.kernel.submit(*self._identify(job.args), job.options, alone=True)

    def accept_last_chances(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        self._accept(jobs, inbox, self._queue_alone)

    def accept(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        self._accept(jobs, inbox, self.submit_to_kernel)

    def _accept(self, jobs: list[Job[Any]], inbox: Inbox, submit_to_kernel: Callable[[Job[Any]], int]) -> None:
        with self.lock:
            core = self._core
            with core.lock:
                inbox.outstanding += len(jobs)
                core.num_submitted += len(jobs)
            for job in jobs:
                number = submit_to_kernel(job)
                self._jobs[number] = job
                self._numbers[job.number] = number
                if core.out_of_time or self._closed:
                    reason = "the evaluator was closed" if self._closed else core.stops.budget_text()
                    self.kernel.stop(number)
                    self._deliver(number, failed(FailureKind.CANCELLED, reason))
            self._start_jobs()

    def has(self, job: Job[Any]) -> bool:
        return job.number in self._numbers

    def running_jobs(self) -> list[Job[Any]]:
        return [job for job in self._jobs.copy().values() if job._status is JobStatus.RUNNING]

    # Jobs start.

    def _start_jobs(self) -> None:
        """Start all jobs that can start now, on virtual workers."""
        kernel = self.kernel
        started: list[Job[Any]] = []
        while (number := kernel.startable()) != NOTHING:
            if number == WAIT:
                self._evaluations.start(started)
                started = []
                self._take_results()
                continue
            job = self._jobs[number]
            try:
                lent = self._resources.acquire(job)
            except Exception as error:  # noqa: BLE001  code that is not ours; its failure is that of the job
                kernel.start()
                self._fail_to_lend(number, job, error)
                continue
            if lent is None:
                break
            kernel.start()
            if self._begin(number, job, lent):
                started.append(job)
        if started:
            self._evaluations.start(started)

    def start(self, number: int) -> bool:
        """Evaluate a job that the kernel has started already; False if there is no resource to lend to it."""
        job = self._jobs[number]
        try:
            lent = self._resources.acquire(job)
        except Exception as error:  # noqa: BLE001  as above
            self._fail_to_lend(number, job, error)
            return True
        if lent is not None and self._begin(number, job, lent):
            self._evaluations.start([job])
        return lent is not None

    def _begin(self, number: int, job: Job[Any], lent: dict[str, Any]) -> bool:
        """Prepare a job that has started in virtual time; return whether to evaluate it now."""
        job._status = JobStatus.RUNNING  # it keeps this status until its virtual end
        checkpoint = self.kernel.resumed(number)
        if checkpoint is not None and checkpoint.seed is not None:
            job._seed_number = checkpoint.seed
            lent = {**lent, SEED_NUMBER: checkpoint.seed}
        job._extra = lent or None
        if self._access.watching.starts:
            lane = lane_of(None, self.kernel.worker_of(number))
            worker = None if lane is None else Worker(lane, socket.gethostname(), os.getpid())
            self._access.watching.started(job, self.kernel.start_of(number), job.attempts + 1, worker)
        if self._runtime_before is None:
            return True
        self._foresee(number, job, self._runtime_before)
        return False

    def _foresee(self, number: int, job: Job[Any], runtime_before: Callable[[dict[str, Any]], float]) -> None:
        """Tell the kernel a runtime that is known before the evaluation."""
        try:
            runtime: Any = runtime_before(dict(job.args))
        except Exception as error:  # noqa: BLE001  the user's function; its failure is the job's
            self._fail_at_start(number, job, "runtime_before raised", error)
            return
        loss = lost(self.kernel, number, runtime)
        if loss is not None:
            job.attempts += 1  # it needs no evaluation
            outcome = judged(None, loss)
            self.kernel.finish(number, runtime, failed=True, retry=self._may_retry(job, outcome))
            self._evaluations.outcomes[job.number] = outcome
            return
        verdict = self.kernel.finish(number, runtime, seed=_seed_of(job))
        if verdict is not None:
            self._evaluations.outcomes[job.number] = judged(None, verdict)

    def _fail_to_lend(self, number: int, job: Job[Any], error: Exception) -> None:
        self._fail_at_start(number, job, f"{self._access.name}._acquire raised", error)

    def _fail_at_start(self, number: int, job: Job[Any], what: str, error: Exception) -> None:
        """Make a job a failure, because something that it needed before its evaluation raised."""
        text = f"{what}: {describe_exception(error, error.__traceback__)}"
        outcome = failed(FailureKind.RAISED, text, objective=f"F_{type(error).__name__}")
        verdict = self.kernel.finish(number, None, failed=True)
        self._evaluations.outcomes[job.number] = outcome if verdict is None else judged(outcome, verdict)

    # Real results come.

    def _take_results(self) -> None:
        """Wait for the backend's next results and tell the kernel."""
        for job in self._evaluations.take():
            self._arrive(job)

    def _arrive(self, job: Job[Any]) -> None:
        outcome = self._evaluations.outcomes.pop(job.number)
        if self._records.untruncate(job):
            job.attempts -= 1  # this run repeats the same attempt, as it would have ended
            self._late_outcomes[job.number] = outcome
            return
        if self._runtime_before is not None:
            self._late_outcomes[job.number] = outcome
            return
        number = self._numbers[job.number]
        runtime = runtime_of(self.runtime, job, outcome)
        outcome = self._records.arrived(job, outcome, self._access.watching)
        resumed = self.kernel.resumed(number)
        loss = lost(self.kernel, number, runtime)
        if loss is not None:
            outcome = failed(loss.kind, loss.message, worker=outcome.worker)
        bad = outcome.kind is not None
        retry = bad and self._may_retry(job, outcome)
        verdict = self.kernel.finish(number, runtime, failed=bad, retry=retry, seed=_seed_of(job))
        self._evaluations.outcomes[job.number] = outcome if verdict is None else judged(outcome, verdict)
        self._records.mark(self.kernel, number, job, runtime, resumed)

    def _may_retry(self, job: Job[Any], outcome: Outcome) -> bool:
        core = self._core
        with core.lock:
            may_retry = outcome.kind is not FailureKind.RETURNED and core.may_retry
            if may_retry and core.ledger.may_retry(job, outcome):
                self._to_retry.add(job.number)
                return True
        return False

    def _ends_before(self, job: Job[Any]) -> None:
        """Note that a job was ended before its present attempt failed, if it would have failed and been run again."""
        if job.number in self._to_retry:
            self._to_retry.discard(job.number)
            if job._errors:
                job._errors.pop()

    # Events in virtual time.

    def _step(self, until: float) -> bool:
        """Move to the next event that is due by `until`; False if there is none."""
        answer = self.kernel.step(min(until, self._budget_end))
        if answer == NOTHING:
            if until < self._budget_end or self._core.out_of_time or math.isinf(self._budget_end):
                return False
            self._spend_budget()
        else:
            self.happened(answer)
        return True

    def happened(self, answer: int) -> None:
        """Handle an answer of the kernel other than `NOTHING`."""
        if answer == WAIT:
            self._take_results()
            return
        if answer == MARK:
            self._show_record(self.kernel.marked)
            return  # nothing is idle because of that; if it stops the job, its end comes next
        if answer == RETRIED:
            self._end_attempt(self._jobs[self.kernel.marked])
        elif answer != UP:
            self._end_job(answer)
        self._start_jobs()

    def _show_record(self, number: int) -> None:
        """Show a record to the stopper at its virtual time; the stopper may end the job now."""
        shown = self._records.next(number)
        if shown is None:
            return
        job = self._jobs[number]
        if not self._access.watching.recorded(job, shown.point.budget, shown.point.objective):
            return
        outcomes = self._evaluations.outcomes
        if not shown.is_end:
            self.kernel.stop(number, JobStatus.DONE.value, shown.time)
            self._ends_before(job)
        elif outcomes[job.number].kind is not None or is_complete(job._stopper):
            return  # it ends here by itself
        ended = self._records.cut(number, job, shown, self.runtime)
        if ended is not None:
            outcomes[job.number] = with_stopped_early(job, ended)
        else:
            self._evaluations.start([job])

    def _end_attempt(self, job: Job[Any]) -> None:
        self._resources.release(job)
        self._to_retry.discard(job.number)
        self._evaluations.outcomes.pop(job.number, None)
        job._stop = job._started = job._stopper = None
        job._status = JobStatus.READY

    def _end_job(self, number: int) -> None:
        """Deliver a job whose virtual end has come."""
        job = self._jobs[number]
        outcomes = self._evaluations.outcomes
        self._resources.release(job)
        foreseen = self._runtime_before is not None
        if foreseen and job.number not in outcomes:
            self._evaluations.start([job])
        wanted = self._records.is_truncated(job) or (foreseen and self._evaluations.are_running(job))
        while wanted and job.number not in self._late_outcomes:
            self._take_results()
        known = outcomes.pop(job.number, None)
        outcome = self._late_outcomes.pop(job.number, known)
        assert outcome is not None
        self._deliver(number, outcome)

    def is_given_back(self, number: int) -> bool:
        """Whether the kernel's job `number` has been delivered."""
        return number not in self._jobs

    def _deliver(self, number: int, outcome: Outcome) -> None:
        job = self._jobs.pop(number)
        del self._numbers[job.number]
        self._records.forget(number, job)
        self._evaluations.outcomes.pop(job.number, None)
        self._late_outcomes.pop(job.number, None)
        job._virtual = self.kernel.facts(number)
        job._virtual["virtual_submit"] = job._submitted
        core = self._core
        with core.lock:
            core.deliver(job, outcome)
        if core.record is not None:
            core.record([job])

    # Waiting.

    def wait(self, inbox: Inbox, size: int, timeout: float | None) -> None:
        with self.lock:
            if self._core.closed:
                return
            if timeout is None or timeout > 0:
                while len(inbox.done) < inbox.needed(size) and self._step(math.inf):
                    pass
            while self._step(self.kernel.clock):  # also jobs that end at exactly this time
                pass

    def give_back(self) -> None:
        """Record the delivered jobs and call the callbacks; for a search that does not call `gather`."""
        self._access.give_back()

    # Ending jobs early.

    def set_budget(self, seconds: float | None, suspends: bool) -> None:
        if suspends:
            left = math.inf if seconds is None else seconds
            raise BadArgument(
                f"timeout is a Deadline in {left:.0f} s, which is real time; give a number of seconds of virtual time."
            )
        self.timeout = self._core.stops.timeout = seconds
        self._core.out_of_time = False
        self._budget_end = math.inf if seconds is None else self.kernel.clock + seconds

    def time_left(self) -> float | None:
        return None if self.timeout is None else max(0.0, self._budget_end - self.kernel.clock)

    def _spend_budget(self) -> None:
        if self.kernel.clock < self._budget_end:
            self.kernel.advance(self._budget_end)
        self._core.out_of_time = True
        self._stop(list(self._jobs), self._core.stops.budget_text())

    def cancel(self, jobs: list[Job[Any]]) -> int:
        with self.lock:
            numbers = [self._numbers.get(job.number) for job in jobs]
            return self._stop([number for number in numbers if number is not None], "cancelled")

    def _stop(self, numbers: list[int], reason: str) -> int:
        """End jobs now: running ones free their virtual workers, the others never start."""
        abandoned = []
        count = 0
        for number in numbers:
            job = self._jobs.get(number)
            if job is None or not self.kernel.stop(number):
                continue
            count += 1
            self._ends_before(job)
            if self._evaluations.abandon(job):
                abandoned.append(job)
            started = not math.isnan(self.kernel.start_of(number))
            outcome = failed(FailureKind.CANCELLED, reason if started else f"{reason} before it ran")
            self._late_outcomes.pop(job.number, None)
            self._records.untruncate(job)
            self._evaluations.outcomes[job.number] = outcome
            if not started:
                self._deliver(number, outcome)
        for job in abandoned:
            self._evaluations.stop(job)
        while self._step(self.kernel.clock):
            pass
        return count

    def close(self) -> list[Job[Any]]:
        with self.lock:
            self._closed = True
            unfinished = [self._jobs[number] for number in self._jobs]
            for number in list(self._jobs):
                self.kernel.stop(number)
                self._ends_before(self._jobs[number])
                self._evaluations.abandon(self._jobs[number])
                self._deliver(number, failed(FailureKind.CANCELLED, "the evaluator was closed"))
        return unfinished


def _seed_of(job: Job[Any]) -> int:
    return job.number if job._seed_number is None else job._seed_number
