"""The first face of simulated time: an evaluator whose completions come in the order of virtual time.

::

    submit ─► kernel.submit ─► a virtual worker is idle: kernel.start ─► the real backend evaluates
    gather ─► kernel.step ─► WAIT: take real results, kernel.finish ─► a job's virtual end ─► inbox

The real backend underneath is any evaluator, with its slots, its supervision and its failures; only where its
jobs would go to the caller's inbox they go to one of ours, and from there to the kernel. All of the kernel is
driven by the caller's thread, under one lock, so that nothing depends on which result happened to arrive first.
"""

from __future__ import annotations

import math
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from evalpool._checks import check_seconds
from evalpool.batch._cpus import usable_cpus
from evalpool.errors import BadArgument, SimulationError
from evalpool.evaluator import _settings
from evalpool.evaluator._evaluator import Evaluator
from evalpool.jobs._inbox import Inbox
from evalpool.jobs._job import Job
from evalpool.jobs._options import Submission
from evalpool.jobs._utilisation import lane_of
from evalpool.outcomes import FailureKind, JobStatus, Outcome, Worker, failed
from evalpool.simulation._checkpoints import Configurations, check_continuation
from evalpool.simulation._kernel import MARK, NOTHING, RETRIED, WAIT, Kernel
from evalpool.simulation._runtimes import check_runtime_key, judged, record_times, runtime_of, timestamps
from evalpool.simulation._seconds import check_runtime
from evalpool.worker._call import SEED_NUMBER, describe_exception

if TYPE_CHECKING:
    from evalpool.batch._deadline import Deadline
    from evalpool.evaluator._attempt import Attempt

__all__ = ["SimulatedEvaluator", "simulated"]


def simulated(evaluator_class: type[Evaluator]) -> type[SimulatedEvaluator]:
    """Make of an evaluator class one in simulated time, ``Simulated<Evaluator>``; see `SimulatedEvaluator`.

    >>> from evalpool import SerialEvaluator
    >>> def run(job):
    ...     return {"objective": job["x"], "runtime": 3600.0 * job["x"]}
    >>> with simulated(SerialEvaluator)(run, num_workers=2) as evaluator:
    ...     _ = evaluator.submit([{"x": 3}, {"x": 1}, {"x": 1}])
    ...     [(job.objective, job.metadata["virtual_end"]) for job in evaluator.gather("ALL")]
    [(1, 3600.0), (1, 7200.0), (3, 10800.0)]

    Raises:
        BadArgument: not an evaluator class, or one that is simulated already.
    """
    if not (isinstance(evaluator_class, type) and issubclass(evaluator_class, Evaluator)):
        raise BadArgument(f"simulated takes an evaluator class, such as SerialEvaluator; got {evaluator_class!r}.")
    if issubclass(evaluator_class, SimulatedEvaluator):
        raise BadArgument(f"{evaluator_class.__name__} is simulated already.")
    name = f"Simulated{evaluator_class.__name__}"
    doc = f"A `{evaluator_class.__name__}` in simulated time; see `evalpool.simulated`."
    made: Any = type(name, (SimulatedEvaluator, evaluator_class), {"__doc__": doc, "__module__": __name__})
    return made  # type: ignore[no-any-return]


class _Held:
    """The timeline of a simulated evaluator: what the backend has ended is kept until its virtual end."""

    can_suspend = False

    def __init__(self, evaluator: SimulatedEvaluator) -> None:
        self.ended = evaluator._hold


class SimulatedEvaluator(Evaluator):
    """What `simulated` adds to an evaluator class.

    Each run-function really runs, on the backend underneath, and declares how long it would have lasted. `gather`
    gives jobs back in the order in which they would have ended. Timestamps, `timeout`, `job_timeout` and everything
    that callbacks, tables and storages see are virtual seconds since the start.

    Args:
        num_workers: virtual workers.
        real_workers: of the backend underneath; None for as many as there are usable CPUs, and virtual workers.
        runtime: where a job's runtime stands: a key of its output or its metadata, or a function of (job, output).
        runtime_before: a function of the configuration, for runtimes known before; jobs whose end is never reached
            are then never evaluated.
        failure_runtime: seconds that a job without a valid runtime is charged.
        continual_max_fidel: jobs continue earlier ones of the same configuration and lower fidelity, up to this one.
        fidel_key: the name in the configuration that holds the fidelity; needed for that.
    """

    def __init__(
        self,
        run_function: Callable[..., Any],
        *,
        num_workers: int = 1,
        real_workers: int | None = None,
        runtime: str | Callable[[Any, Any], Any] = "runtime",
        runtime_before: Callable[[dict[str, Any]], float] | None = None,
        failure_runtime: float = 0.0,
        continual_max_fidel: int | None = None,
        fidel_key: str | None = None,
        job_timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        self._virtual_workers = _settings.check_workers(num_workers)
        if real_workers is None:
            real_workers = min(usable_cpus(), self._virtual_workers)
        self._runtime = check_runtime_key(runtime)
        if runtime_before is not None and not callable(runtime_before):
            raise BadArgument(f"runtime_before is {runtime_before!r}; give a function of the configuration.")
        self._runtime_before = runtime_before
        check_continuation(continual_max_fidel, fidel_key)
        self._fidel_key = fidel_key
        self._configurations = Configurations()
        self._kernel = Kernel(
            self._virtual_workers,
            continual_max_fidel=continual_max_fidel,
            failure_runtime=failure_runtime,
            job_timeout=check_seconds("job_timeout", job_timeout),
        )
        self._virtual = threading.RLock()  # the kernel, and what follows, belong to one caller at a time
        self._real = Inbox()  # of the backend underneath
        self._jobs: dict[int, Job[Any]] = {}  # by the kernel's number: those that are not given back
        self._numbers: dict[int, int] = {}  # job number -> the kernel's
        self._evaluating: set[int] = set()  # job numbers that the backend has
        self._gone: set[int] = set()  # of those, the ones whose result nobody wants any more
        self._real_outcomes: dict[int, Outcome] = {}  # job number -> what nobody may see before its virtual end
        self._records: dict[int, list[tuple[float, Any]]] = {}
        self._marked: dict[int, deque[tuple[float, Any]]] = {}  # records that are still to come, in virtual time
        self._cut: dict[int, int] = {}  # job numbers run again up to the record at which a stopper stopped them
        self._late: dict[int, Outcome] = {}  # their outcomes
        self._deadline = math.inf
        self._enters: Callable[[Job[Any]], int] | None = None  # how jobs reach the kernel, where a search asks for them
        self._moment: float | None = None  # when, if not at the clock
        self._timeline = _Held(self)
        super().__init__(run_function, num_workers=real_workers, **kwargs)
        self._core.ledger.own_limits = False  # those of jobs are virtual seconds
        scheduler = self._core.ledger.scheduler
        self._lends, scheduler.resources = scheduler.resources, None  # they are lent in virtual time, by us

    # Time.

    @property
    def now(self) -> float:
        """The clock: seconds of virtual time."""
        return self._kernel.clock

    _may_await = False  # virtual time does not wait for other programs

    def _now(self) -> float:
        return self._kernel.clock if self._moment is None else self._moment

    def advance(self, seconds: float) -> None:
        """Declare `seconds` of thinking: virtual time passes, and jobs end meanwhile.

        Raises:
            BadArgument: negative, or no number.
        """
        step = check_runtime(seconds)
        if isinstance(step, str):
            raise BadArgument(f"advance got {seconds!r}; give seconds of 0 or more: time goes forward.")
        with self._virtual:
            target = self._kernel.clock + step
            while self._step(target):
                pass
            if self._kernel.clock < target:
                self._kernel.advance(target)

    @property
    def num_workers(self) -> int:
        """The virtual workers."""
        return self._virtual_workers

    @property
    def timeout(self) -> float | None:
        """The time budget in virtual seconds, from when it was set."""
        return self._stops.timeout

    @timeout.setter
    def timeout(self, value: float | Deadline | None) -> None:
        budget = self._stops.timeout = check_seconds("timeout", value)
        self._core.out_of_time = False
        self._deadline = math.inf if budget is None else self._kernel.clock + budget

    @property
    def time_left(self) -> float | None:
        """Virtual seconds left of `timeout`."""
        return None if self._stops.timeout is None else max(0.0, self._deadline - self._kernel.clock)

    def trace(self) -> list[dict[str, Any]]:
        """One row per submitted job, in the order of submission, also of those that have not ended.

        Keys: job, worker, submit, start, end, charged, resumed, status.
        """
        with self._virtual:
            return [row._asdict() for row in self._kernel.trace()]

    def trace_digest(self) -> str:
        """A hash of the trace: the same on every backend, number of real workers and load."""
        with self._virtual:
            return self._kernel.trace_digest()

    # Submission.

    def _submit(self, configurations: Iterable[dict[str, Any] | Submission], inbox: Inbox) -> list[Job[Any]]:
        if self._fidel_key is not None and isinstance(configurations, Iterable):
            configurations = list(configurations)
            for given in configurations:
                configuration = given.configuration if isinstance(given, Submission) else given
                if isinstance(configuration, dict):
                    self._identify(configuration)
        with self._virtual:
            return super()._submit(configurations, inbox)

    def _identify(self, configuration: dict[str, Any]) -> tuple[str | None, int | None]:
        """A configuration's digest and its fidelity; None, None without continuation."""
        if self._fidel_key is None:
            return None, None
        return self._configurations.identify(configuration, self._fidel_key)

    def _accept_last_chances(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        self._accept(jobs, inbox)  # when a job runs is virtual time's to say

    def _accept(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        with self._virtual:
            with self._core.lock:
                inbox.outstanding += len(jobs)
                self._core.num_submitted += len(jobs)
            for job in jobs:
                number = self._enter(job)
                self._jobs[number] = job
                self._numbers[job.number] = number
                if self._core.out_of_time:
                    self._kernel.stop(number)
                    self._deliver(number, failed(FailureKind.CANCELLED, self._stops.budget_text()))
            self._begin()

    def _enter(self, job: Job[Any]) -> int:
        """Make a job known to the kernel; returns its number there."""
        if self._enters is not None:
            return self._enters(job)
        return self._kernel.submit(*self._identify(job.args), job.options)

    def _begin(self) -> None:
        """Start what can be started now, on virtual workers."""
        kernel = self._kernel
        started: list[Job[Any]] = []
        while (number := kernel.startable()) != NOTHING:
            if number == WAIT:
                self._evaluate_really(started)
                started = []
                self._take_results()
                continue
            job = self._jobs[number]
            try:
                extra = self._lend(job)
            except Exception as error:  # noqa: BLE001  a hook; its failure is that of the job
                kernel.start()
                self._fail_at_start(number, job, f"{type(self).__name__}._acquire raised", error)
                continue
            if extra is None:
                break
            kernel.start()
            if self._prepare(number, job, extra):
                started.append(job)
        self._evaluate_really(started)

    def _lend(self, job: Job[Any]) -> dict[str, Any] | None:
        """The resources of a job that is to start; None if it must wait for them."""
        if self._lends is None:
            return {}
        with self._core.lock:
            return self._lends.acquire(job)

    def _take_back(self, job: Job[Any]) -> None:
        """A job has ended in virtual time: what it was lent comes back."""
        if self._lends is not None:
            with self._core.lock:
                self._lends.release(job)

    def _prepare(self, number: int, job: Job[Any], extra: dict[str, Any]) -> bool:
        """A job has started in virtual time; is it to be evaluated now?"""
        job._status = JobStatus.RUNNING  # whoever looks sees it so until its virtual end
        checkpoint = self._kernel.resumed(number)
        if checkpoint is not None and checkpoint.seed is not None:
            job._seed_number = checkpoint.seed
            extra = {**extra, SEED_NUMBER: checkpoint.seed}
        job._extra = extra or None
        if self._notes_starts:
            lane = lane_of(None, self._kernel.worker_of(number))
            worker = None if lane is None else Worker(lane, socket.gethostname(), os.getpid())
            self._note_start(job, self._kernel.start_of(number), job.attempts + 1, worker)
        if self._runtime_before is None:
            return True
        self._foresee(number, job, self._runtime_before)
        return False

    @property
    def _watches_starts(self) -> bool:
        return False  # a job starts when the kernel says so, see `_prepare`; when it really does is no news

    def _foresee(self, number: int, job: Job[Any], runtime_before: Callable[[dict[str, Any]], float]) -> None:
        """Tell the kernel a runtime that is known before the evaluation."""
        try:
            runtime: Any = runtime_before(dict(job.args))
        except Exception as error:  # noqa: BLE001  the user's function; its failure is the job's
            self._fail_at_start(number, job, "runtime_before raised", error)
            return
        verdict = self._kernel.finish(number, runtime, seed=self._seed_of(job))
        if verdict is not None:
            self._real_outcomes[job.number] = judged(None, verdict)

    def _fail_at_start(self, number: int, job: Job[Any], what: str, error: Exception) -> None:
        """What a job needed before its evaluation could not be had."""
        text = f"{what}: {describe_exception(error, error.__traceback__)}"
        outcome = failed(FailureKind.RAISED, text, objective=f"F_{type(error).__name__}")
        verdict = self._kernel.finish(number, None, failed=True)
        self._real_outcomes[job.number] = outcome if verdict is None else judged(None, verdict)

    def _evaluate_really(self, jobs: list[Job[Any]]) -> None:
        """Have the backend run jobs."""
        if jobs:
            for job in jobs:
                self._evaluating.add(job.number)
            self._core.queue(jobs, self._real)

    @staticmethod
    def _seed_of(job: Job[Any]) -> int:
        return job.number if job._seed_number is None else job._seed_number

    # Real results.

    def _take_results(self) -> None:
        """Wait for the backend's next results and tell the kernel."""
        if not self._real.outstanding:
            raise SimulationError("Virtual time waits for a result, and no job is being evaluated; this is a bug.")
        self._wait_for(self._real, 1, None)
        with self._core.lock:
            arrived = self._real.take()
        for job in arrived:
            self._evaluating.discard(job.number)
            if job.number in self._gone:
                self._gone.discard(job.number)
            else:
                self._arrive(job)

    def _arrive(self, job: Job[Any]) -> None:
        outcome = self._real_outcomes.pop(job.number)
        number = self._numbers[job.number]
        if job.number in self._cut:
            del self._cut[job.number]
            job.attempts -= 1  # the same attempt, as it would have ended
            self._late[job.number] = outcome
            return
        if self._runtime_before is not None:
            self._late[job.number] = outcome
            return
        runtime = runtime_of(self._runtime, job, outcome)
        bad = outcome.kind is not None
        core = self._core
        with core.lock:
            may_retry = bad and outcome.kind is not FailureKind.RETURNED and core.may_retry
            retry = may_retry and core.ledger.may_retry(job, outcome)
        start = self._kernel._trace.start[number]
        verdict = self._kernel.finish(number, runtime, failed=bad, retry=retry, seed=self._seed_of(job))
        self._real_outcomes[job.number] = outcome if verdict is None else judged(outcome, verdict)
        records = self._records.pop(job.number, None)
        if records:
            self._mark_records(number, job, records, start)

    def _mark_records(self, number: int, job: Job[Any], records: list[tuple[float, Any]], start: float) -> None:
        """Let the records of a job be seen at their virtual times."""
        if self._stopper is None and not self._hooks.on_record and not self._keeps:
            return
        charged = self._kernel._trace.charged[number]
        times = record_times(records, start, start + charged)
        self._marked[number] = deque(records)
        for time in times:
            self._kernel.mark(number, time)

    def _attempt_recorded(self, attempt: Attempt, budget: float, objective: Any) -> bool:
        # In real time a record is only noted; whether it stops the job is decided at its virtual time.
        number = attempt.job.number
        records = self._records.setdefault(number, [])
        records.append((budget, objective))
        cut = self._cut.get(number)
        return cut is not None and len(records) >= cut

    def _on_mark(self, number: int) -> None:
        """A record's virtual time has come: show it to the stopper, which may end the job now."""
        left = self._marked.get(number)
        if left is None:
            return  # it was stopped before
        job = self._jobs[number]
        budget, objective = left.popleft()
        seen = self._records_seen(job)
        if self._observe(job, budget, objective) and left:
            self._kernel.stop(number, JobStatus.DONE.value)
            del self._marked[number]
            # What it returns when it is stopped here, only it knows: it runs once more, up to this record.
            self._cut[job.number] = seen
            self._evaluate_really([job])
        elif not left:
            del self._marked[number]

    def _records_seen(self, job: Job[Any]) -> int:
        job._history = job._history or {}
        seen = int(job._history.pop("_records", 0)) + 1
        job._history["_records"] = seen
        return seen

    # Virtual ends.

    def _step(self, until: float) -> bool:
        """Let the next thing happen that happens by `until`; False if nothing does."""
        answer = self._kernel.step(min(until, self._deadline))
        if answer == NOTHING:
            if until < self._deadline or self._core.out_of_time or math.isinf(self._deadline):
                return False
            self._spend_virtual_budget()
        else:
            self._happened(answer)
        return True

    def _happened(self, answer: int) -> None:
        """What the kernel says has happened, but `NOTHING`."""
        if answer == WAIT:
            self._take_results()
            return
        if answer == MARK:
            self._on_mark(self._kernel.marked)
        elif answer == RETRIED:
            self._end_attempt(self._jobs[self._kernel.marked])
        else:
            self._release_job(answer)
        self._begin()

    def _end_attempt(self, job: Job[Any]) -> None:
        self._take_back(job)
        self._real_outcomes.pop(job.number, None)
        job._stop = job._started = job._stopper = None
        job._status = JobStatus.READY

    def _release_job(self, number: int) -> None:
        """A job's virtual end has come: give it back."""
        job = self._jobs[number]
        self._take_back(job)
        if self._runtime_before is not None and job.number not in self._real_outcomes:
            self._evaluate_really([job])
        wanted = job.number in self._cut or (self._runtime_before is not None and job.number in self._evaluating)
        while wanted and job.number not in self._late:
            self._take_results()
        known = self._real_outcomes.pop(job.number, None)
        outcome = self._late.pop(job.number, known)
        assert outcome is not None
        self._deliver(number, outcome)

    def _deliver(self, number: int, outcome: Outcome) -> None:
        job = self._jobs.pop(number)
        del self._numbers[job.number]
        self._marked.pop(number, None)
        self._records.pop(job.number, None)
        self._real_outcomes.pop(job.number, None)
        if job._history is not None:
            job._history.pop("_records", None)
        job._virtual = {**self._kernel.facts(number), "virtual_submit": job._submitted}
        with self._core.lock:
            self._core.deliver(job, outcome)
        if self._durable:
            self._record_outcomes_soon([job])

    def _facts(self, job: Job[Any]) -> dict[str, Any] | None:
        lent = {name: value for name, value in (job._extra or {}).items() if name != SEED_NUMBER}
        facts = self._lends.describe(lent) if lent and self._lends is not None else {}
        return {**facts, **(job._virtual or {})} or None

    def _timestamps(self, job: Job[Any]) -> dict[str, float | None]:
        return timestamps(job._virtual or {}, job._submitted, job._gathered)

    # Waiting.

    def _gather(self, inbox: Inbox, size: int, timeout: float | None) -> list[Job[Any]]:
        self._deliver_notices()
        with self._virtual:
            if self._core.closed:
                return self._finish(inbox)
            wanted = max(1, inbox.outstanding) if size >= inbox.outstanding else size
            if timeout is None or timeout > 0:
                while len(inbox.done) < inbox.needed(wanted) and self._step(math.inf):
                    pass
            while self._step(self._kernel.clock):  # what ends at this very moment, too
                pass
        return self._finish(inbox)

    async def agather(self, type: str = "ALL", size: int = 1, timeout: float | None = None) -> list[Job[Any]]:
        """As `gather`; virtual time passes in a thread beside, so that the event loop goes on."""
        import asyncio

        return await asyncio.to_thread(self.gather, type, size, timeout)

    # Stopping.

    def _spend_virtual_budget(self) -> None:
        if self._kernel.clock < self._deadline:
            self._kernel.advance(self._deadline)
        self._core.out_of_time = True
        self._stop_jobs(list(self._jobs), self._stops.budget_text())

    def cancel(self, jobs: Iterable[Job[Any]] | Job[Any]) -> int:
        """Cancel jobs, at this moment of virtual time. Returns how many had no outcome yet."""
        if isinstance(jobs, Job):
            jobs = [jobs]
        with self._virtual:
            numbers = []
            for job in jobs:
                if job._evaluator is not self:
                    raise BadArgument(f"{job!r} was not submitted to this {type(self).__name__}.")
                number = self._numbers.get(job.number)
                if number is not None:
                    numbers.append(number)
            return self._stop_jobs(numbers, "cancelled")

    def _stop_jobs(self, numbers: list[int], reason: str) -> int:
        """End jobs now: those that run free their virtual workers, the others never start."""
        real = []
        count = 0
        for number in numbers:
            job = self._jobs.get(number)
            if job is None or not self._kernel.stop(number):
                continue
            count += 1
            if job.number in self._evaluating:
                self._gone.add(job.number)
                self._evaluating.discard(job.number)
                real.append(job)
            started = not math.isnan(self._kernel._trace.start[number])
            outcome = failed(FailureKind.CANCELLED, reason if started else f"{reason} before it ran")
            self._late.pop(job.number, None)
            self._cut.pop(job.number, None)
            self._real_outcomes[job.number] = outcome
            if not started:
                self._deliver(number, outcome)
        for job in real:
            with self._core.lock:
                waits = self._core.ledger.withdraw(job)  # for a worker of the backend underneath
                if waits:
                    self._core.put(self._real, job)
                attempt = self._core.ledger.running.get(job.number)
            if attempt is not None:
                self._stops.stop(attempt, FailureKind.CANCELLED)
        while self._step(self._kernel.clock):
            pass
        return count

    def _hold(self, job: Job[Any], outcome: Outcome) -> None:
        """Under the lock: the backend has ended a job: that is a result for us, not yet one for the caller."""
        if job.number not in self._gone:
            self._real_outcomes[job.number] = outcome
        # Else it was stopped in virtual time and has its outcome; this is only a sign that it is off the backend.
        self._core.put(self._real, job)

    def close(self) -> list[Job[Any]]:
        """As `Evaluator.close`: jobs whose virtual end has not come are CANCELLED."""
        with self._virtual:
            if self._core.closed:
                return []
            unfinished = [self._jobs[number] for number in self._jobs]
            for number in list(self._jobs):
                job = self._jobs[number]
                self._kernel.stop(number)
                if job.number in self._evaluating:
                    self._gone.add(job.number)
                self._deliver(number, failed(FailureKind.CANCELLED, "the evaluator was closed"))
        super().close()
        for job in unfinished:
            job._status = JobStatus.CANCELLED
        self._core.take_unfinished(unfinished)
        return sorted(unfinished, key=lambda job: job.number)
