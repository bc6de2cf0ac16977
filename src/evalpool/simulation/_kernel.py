"""The discrete-event scheduler behind all simulated time: no threads, no files, no wall clock.

Time moves from event to event: a heap has the ends of the running jobs, and the clock moves to the earliest one. As in
simpy's `core.py`, a counter in the heap makes the order of equal times repeatable. One thing is harder here: a job's
runtime may become known only after others have started, because its run-function really runs somewhere. Such a job is
*open*, and nothing that it could still precede is released.

Three faces use it, each with its own methods on the same state::

    jobs that wait for workers     submit -> startable/start -> finish     step, advance        the decorator
    workers that wait for jobs     poll -> ask -> finish, or `drive`       poll                 ask and tell
    callers that are the workers   turn -> place (-> claim)  -> finish     release              `CallerKernel`

Not thread-safe. Every method has constant cost, plus the logarithm of the number of running jobs if it uses the heap.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Callable, Container
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple, TypeVar

from evalpool._checks import check_choice
from evalpool.errors import BadArgument, SimulationError
from evalpool.jobs._options import NO_OPTIONS, JobOptions
from evalpool.outcomes import FailureKind
from evalpool.simulation._checkpoints import Checkpoint, Checkpoints
from evalpool.simulation._lives import Lives
from evalpool.simulation._queue import Queue
from evalpool.simulation._seconds import check_limit, check_overhead, check_runtime, check_time, check_whole
from evalpool.simulation._trace import CANCELLED, DONE, FAILED, Trace, TraceRow, digest
from evalpool.simulation._worker_model import WorkerModel

__all__ = [
    "ASK",
    "BEGIN",
    "MARK",
    "NOTHING",
    "RETRIED",
    "UP",
    "WAIT",
    "Answer",
    "Kernel",
    "Verdict",
]


class Answer(enum.IntEnum):
    """What `poll`, `step` and similar methods return instead of a job's number."""

    ASK = -1
    """a proposal is due: the search is to decide for an idle worker"""
    WAIT = -2
    """a real result must come first"""
    NOTHING = -3
    """nothing happens any more, or nothing until the given time"""
    MARK = -4
    """a mark of a running job was reached: the job is `marked`"""
    RETRIED = -5
    """a job ended and is run again: the job is `marked`"""
    BEGIN = -6
    """a job that was asked for starts: the job is `marked`"""
    UP = -7
    """a worker has started, or started again, and a job waits for one"""


ASK, WAIT, NOTHING, MARK, RETRIED, BEGIN, UP = Answer  # as globals, which are faster to look up for every event

INF = math.inf
NAN = math.nan
FOREVER = 1 << 62
RETRY = "RETRY"
SAMPLINGS = ("serial", "parallel")
TELLS = ("asap", "warmup", "fill")

Self = TypeVar("Self", bound="Kernel")


class Verdict(NamedTuple):
    """Why a job that was reported as a success counts as a failure."""

    kind: FailureKind
    message: str


def over_limit(charged: float, limit: float) -> Verdict:
    """Return the verdict for a job that would have run longer than its time limit."""
    text = f"the job would have run {charged!r} s of virtual time; its limit is {limit!r} s"
    return Verdict(FailureKind.TIMEOUT, text)


class Kernel:
    """Virtual workers, a virtual clock, and the jobs between them.

    Args:
        num_workers: how many jobs run at the same time.
        sampling: ``"serial"``: one search decides for one worker after the other; ``"parallel"``: each worker
            decides for itself.
        tell: which results a decision may know. ``"asap"``: all that ended before; ``"warmup"``: none until every
            worker has had a job; ``"fill"``: results are told, one by one, only when every worker has a job.
        continual_max_fidel: jobs resume checkpoints of lower fidelity, up to this one; None: they do not.
        failure_runtime: seconds charged to a job without a valid runtime.
        job_timeout: seconds that a job may run, if it has no limit of its own. A longer job ends at exactly that time,
            as a failure.
        stops: whether running jobs may be stopped at their marks; then a job does not resume a checkpoint before it is
            certain that it is left.
        max_evals, max_submits, max_time: limits on completions, on submissions, on the clock; None for no limit.
        worker_model: how workers start and fail; None: they are there from 0 on for ever.

    Attributes:
        clock: seconds of virtual time.
        ended: when the last released job ended; the clock is later if the search was thinking after that.
        over: which limit ended the run: ``"max_evals"``, ``"max_submits"`` or ``"max_time"``; None if it has not ended.
        num_submitted, num_completed: counters.
        marked: after `MARK`, `BEGIN` or `RETRIED`, the job.
        decision: after `ASK`, the start of the decision that is due.
        job_timeout: seconds that a job may run; None for no limit.
        worker_model: as given.

    Raises:
        BadArgument: an argument has a wrong type or value.
    """

    __slots__ = (
        "_asked",
        "_bounds",
        "_by_caller",
        "_checkpoints",
        "_claims",
        "_decided",
        "_end_statuses",
        "_ends",
        "_idle",
        "_limits",
        "_lives",
        "_marks",
        "_max_evals",
        "_max_submits",
        "_max_time",
        "_open",
        "_plain",
        "_queue",
        "_runs_alone",
        "_serial",
        "_settings",
        "_since",
        "_stale",
        "_starts",
        "_stopping",
        "_stops",
        "_tells_from",
        "_trace",
        "_tried",
        "_unknown",
        "clock",
        "decision",
        "ended",
        "failure_runtime",
        "job_timeout",
        "marked",
        "max_fidelity",
        "num_completed",
        "num_submitted",
        "num_workers",
        "over",
        "worker_model",
    )  # fmt: skip

    def __init__(
        self,
        num_workers: int,
        *,
        sampling: str = "serial",
        tell: str = "asap",
        continual_max_fidel: int | None = None,
        failure_runtime: float = 0.0,
        job_timeout: float | None = None,
        stops: bool = False,
        max_evals: int | None = None,
        max_submits: int | None = None,
        max_time: float | None = None,
        worker_model: WorkerModel | None = None,
    ) -> None:
        self._settings: dict[str, Any] = {
            "num_workers": check_whole("num_workers", num_workers, 1),
            "sampling": check_choice("sampling", sampling, SAMPLINGS),
            "tell": check_choice("tell", tell, TELLS),
            "continual_max_fidel": check_whole("continual_max_fidel", continual_max_fidel, 1, optional=True),
            "failure_runtime": check_time("failure_runtime", failure_runtime),
            "job_timeout": check_limit("job_timeout", job_timeout),
            "stops": stops,
            "max_evals": check_whole("max_evals", max_evals, 1, optional=True),
            "max_submits": check_whole("max_submits", max_submits, 1, optional=True),
            "max_time": check_limit("max_time", max_time),
            "worker_model": None if worker_model is None else worker_model.state(),
        }
        self.num_workers = num_workers
        self.failure_runtime: float = self._settings["failure_runtime"]
        self.max_fidelity = continual_max_fidel
        self._serial = sampling == "serial"
        # From this number of jobs on, results are told before a decision for an idle worker.
        self._tells_from = {"asap": 0, "warmup": num_workers, "fill": FOREVER}[tell]
        self.job_timeout: float | None = self._settings["job_timeout"]
        self._max_evals = FOREVER if max_evals is None else max_evals
        self._max_submits = FOREVER if max_submits is None else max_submits
        self._max_time: float = INF if self._settings["max_time"] is None else self._settings["max_time"]
        self.worker_model = worker_model
        self._stops = stops
        self._plain = continual_max_fidel is None and job_timeout is None and worker_model is None and not stops
        self._by_caller = False

        self.clock = 0.0
        self.ended = 0.0
        self.over: str | None = None
        self.num_submitted = 0
        self.num_completed = 0
        self.marked = -1
        self._decided = 0.0  # the end of the last decision, with serial sampling
        self.decision: float | None = None
        self._since = [0.0] * num_workers
        self._queue = Queue()
        self._runs_alone = False  # whether the job that started last runs alone
        self._limits: dict[int, float | None] = {}  # of jobs with their own time limit; None for no limit
        self._ends: list[tuple[float, int, int]] = []  # (end, rank, worker) of running jobs; marks have worker -1
        self._open: dict[
            int, float
        ] = {}  # running jobs of unknown end -> the earliest possible end, which is the start
        self._bounds: list[tuple[float, int, int]] = []  # the same as a heap, (bound, rank, job), some outdated
        self._asked: dict[int, tuple[str, int]] = {}  # queued jobs -> configuration and fidelity
        self._claims: dict[int, tuple[str, int, Checkpoint | None]] = {}  # the same for open jobs, and what they resume
        self._unknown: dict[str, dict[int, int]] = {}  # the same by configuration: job -> fidelity
        self._end_statuses: dict[int, str] = {}  # of running jobs that will not be DONE
        self._stale: dict[int, int] = {}  # ended jobs -> how many of their entries are still in `_ends`
        self._stopping: set[int] = set()  # jobs that were stopped and are yet to be released
        self._tried = -1.0  # when it was last looked whether a queued job can start; only with a model of workers
        self._marks: dict[int, int] = {}  # running jobs -> their marks in `_ends`
        self._starts: list[tuple[float, int]] = []  # (start, job) of jobs that were asked for and have yet to begin
        self._checkpoints = Checkpoints()
        self._trace = Trace()
        self._lives = None if worker_model is None else Lives(worker_model, self._since, self._queue, self._trace)
        # Idle workers, in the order of time in which they became idle.
        self._idle: deque[int] | Lives = deque(range(num_workers)) if self._lives is None else self._lives

    # The outcome of jobs: all faces.

    def finish(
        self, job: int, runtime: Any, *, failed: bool = False, retry: bool = False, seed: int | None = None
    ) -> Verdict | None:
        """Set the runtime of a running job; it will be released at its virtual end.

        Args:
            job: its number.
            runtime: seconds from scratch; any other value makes the job a failure.
            failed: whether it is a failure; a failure occupies its worker like any other job.
            retry: whether the job is queued again at its end, instead of being released.
            seed: the seed that it ran with, for the checkpoint that it leaves.

        Returns:
            None, or why a job reported as a success counts as a failure.
        """
        start = self._open.pop(job, None)
        if start is None:
            if job in self._trace.ended:
                return None  # stopped in virtual time before its real result came
            raise SimulationError(f"Job {job} does not run, or its runtime is known already. Finish each job once.")
        verdict = None
        claim = self._unclaim(job) if self._claims else None
        resumed = claim[2] if claim is not None else None
        total = check_runtime(runtime)
        if isinstance(total, str):
            if not failed:
                verdict, failed = Verdict(FailureKind.INVALID_OUTPUT, total), True
            charged = self.failure_runtime
        elif resumed is not None:
            charged = max(0.0, total - resumed.total)
        else:
            charged = total
        limit = self._limits.get(job, self.job_timeout) if self._limits else self.job_timeout
        loss = None if self._lives is None else self._lives.lose(job, charged, limit)
        if loss is not None:
            if not failed:
                verdict, failed = Verdict(FailureKind.WORKER_DIED, loss.message), True
            charged = loss.seconds
        elif limit is not None and charged > limit:
            if not failed:
                verdict, failed = over_limit(charged, limit), True
            charged = limit
        self._trace.charged[job] = charged
        end = start + charged
        if retry:
            self._end_statuses[job] = RETRY
            if claim is not None:
                self._asked[job] = claim[:2]
        elif failed:
            self._end_statuses[job] = FAILED
        elif claim is not None and self.max_fidelity is not None and claim[1] < self.max_fidelity:
            assert not isinstance(total, str)
            inherited = seed if resumed is None else resumed.seed
            self._checkpoints.leave(claim[0], Checkpoint(claim[1], total, end, job, inherited))
        worker = self._trace.worker[job]
        heappush(self._ends, (end, worker if self._by_caller else job, worker))
        return verdict

    def resumed(self, job: int) -> Checkpoint | None:
        """Return the checkpoint that a running job continues, or None."""
        claim = self._claims.get(job)
        return claim[2] if claim is not None else None

    def start_of(self, job: int) -> float:
        """Return when a job started or will start."""
        return self._trace.start[job]

    def starts(self) -> list[float]:
        """Return `start_of` for all jobs, in the order of their numbers."""
        return self._trace.start

    def end_of(self, job: int) -> float:
        """Return when a released job ended."""
        return self._trace.end(job)

    def charged(self, job: int) -> float:
        """Return for how many seconds a job of known runtime occupies its worker."""
        return self._trace.charged[job]

    def worker_of(self, job: int) -> int:
        return self._trace.worker[job]

    def facts(self, job: int) -> dict[str, Any]:
        """Return a job's metadata about virtual time. A stopped job counts as ended now."""
        trace = self._trace
        start, worker, charged = trace.start[job], trace.worker[job], trace.charged[job]
        ran = not math.isnan(start)
        ended = ran and not math.isnan(charged)
        return {
            "virtual_submit": trace.submit.get(job, start),
            "virtual_start": start if ran else None,
            "virtual_end": trace.end(job) if ended else self.clock,
            "virtual_worker": worker if worker >= 0 else None,
            "charged_runtime": charged if ended else 0.0,
            "resumed_fidelity": trace.resumed.get(job),
        }

    # Jobs that wait for workers.

    def submit(
        self,
        key: str | None = None,
        fidelity: int | None = None,
        options: JobOptions = NO_OPTIONS,
        alone: bool = False,
    ) -> int:
        """Queue a job at the current time; return its number. With continuation, `key` names its configuration.

        If `alone`, it starts when no other job runs or waits, and no other job starts while it runs.
        """
        job = self._new(-1, NAN)
        if alone:
            self._queue.alone.add(job)
        if options is not NO_OPTIONS:
            self._note_options(job, options)
        self.num_submitted += 1
        self._trace.submit[job] = self.clock
        if key is not None and fidelity is not None and self.max_fidelity is not None:
            self._asked[job] = (key, fidelity)
        self._queue.append(job)
        return job

    def startable(self) -> int:
        """Return the queued job that `start` would start now. `NOTHING` if none can start; `WAIT` if a real result must
        come first, because the job may resume a running one.
        """
        job = self._queue.first(self._trace.statuses)
        if job is None or not self._idle or self.over:
            return NOTHING
        if self._lives is not None:
            self._tried = self.clock
            if self._lives.look(self.clock) > self.clock:
                return NOTHING
        alone = self._queue.alone
        if alone and len(self._idle) < self.num_workers and (self._runs_alone or job in alone):
            return NOTHING
        if self._asked and (asked := self._asked.get(job)) is not None:
            if self._may_be_left_one(asked):
                return WAIT
            if self._marks and self._checkpoints.are_undecided(job, asked, self.clock, self._marks, self._ends):
                return NOTHING
        return job

    def start(self) -> int:
        """Start the job that `startable` returned on the first idle worker, now; return the worker.

        Start all startable jobs after each submission and each event, before time moves. Then a job starts when it is
        submitted or when its worker becomes idle, whichever is later. A job that must wait for something else, such as
        a lent resource, is just not started yet.
        """
        job, worker, start = self._queue.popleft(), self._idle.popleft(), self.clock
        trace = self._trace
        trace.worker[job], trace.start[job] = worker, start
        if self._queue.alone:
            self._runs_alone = job in self._queue.alone
        if trace.submit[job] == start:
            del trace.submit[job]
        asked = self._asked.pop(job, None) if self._asked else None
        if asked is not None:
            self._claim(job, asked[0], asked[1], start)
        self._await(job, start, job)
        return worker

    def step(self, until: float = INF) -> int:
        """Move to the next event that is due by `until`; return the number of the job that ended.

        Or return `MARK` or `RETRIED`; `WAIT` if a running job's real result must come first; `NOTHING` if nothing
        happens by then. After any answer but `WAIT`, start all startable jobs, then call again.
        """
        if self.over:
            return NOTHING
        answer = self._next(min(until, self._max_time))
        if (
            answer == NOTHING
            and until > self._max_time
            and (self._ends or self._open or (self._lives is not None and self._lives.wanted()))
        ):
            self.over = "max_time"  # all remaining jobs end later
        return answer

    def advance(self, to: float) -> None:
        """Move the clock to a time by which `step` says that nothing happens.

        Raises:
            BadArgument: the time is before the clock.
            SimulationError: an event happens, or may happen, before that time.
        """
        if not self.clock <= to < INF:
            raise BadArgument(f"The clock stands at {self.clock!r} and cannot be moved to {to!r}; time goes forward.")
        if (self._ends and self._ends[0][0] <= to) or (self._open and self._first_bound()[0] < to):
            raise SimulationError(f"Jobs end before {to!r}; call step(until={to!r}) until it says NOTHING.")
        self.clock = to

    def mark(self, job: int, time: float) -> None:
        """Make `step` return `MARK` at a time while a job runs, before any other event of this job at that time.

        The clock may have passed the time, if decisions come before results; marks still come in their order.
        """
        heappush(self._ends, (time, job, -1))
        self._marks[job] = self._marks.get(job, 0) + 1

    def stop(self, job: int, status: str = CANCELLED, at: float | None = None) -> bool:
        """End a job now: a running one is released at the current time and frees its worker; a waiting one never runs.

        Args:
            job: its number.
            status: of a running job afterwards: CANCELLED, FAILED, or DONE if a stopper ends it early. It leaves no
                checkpoint in any case. A waiting job is CANCELLED.
            at: when a running job ends: the time of its mark, which the clock has passed if decisions took longer and
                come before results. None for now.

        Returns:
            False if it had ended before.
        """
        trace = self._trace
        start, worker = trace.start[job], trace.worker[job]
        if job in trace.statuses or job in trace.ended:
            return False
        if math.isnan(start):
            trace.statuses[job] = CANCELLED
            self._asked.pop(job, None)
            return True
        if self._open.pop(job, None) is not None:
            self._unclaim(job)
        elif trace.end(job) > self.clock or any(
            entry[1] == job and entry[2] >= 0 for entry in self._ends if entry[0] == trace.end(job)
        ):  # its end is known, and it is not released yet
            self._stale[job] = 1  # the entry of its old end comes after that of the new one
            self._checkpoints.cancel(job)
        else:
            return False
        end = max(self.clock, start) if at is None else at  # with parallel sampling it may start in the future
        self._stopping.add(job)
        self._end_statuses.pop(job, None)
        if self._lives is not None:
            self._lives.spare(job)
        if status != DONE:
            self._end_statuses[job] = status
        trace.charged[job], trace.ended[job] = end - start, end
        heappush(self._ends, (end, job, worker))
        return True

    # Batches: a search asks for several jobs, lets all of them end, and asks again.

    @property
    def room(self) -> int:
        """How many more jobs the limits allow now."""
        if self.over or self.clock >= self._max_time:
            return 0
        return min(self._max_submits, self._max_evals) - self.num_submitted

    def conclude(self) -> None:
        """Set which limit ended the run, when no more jobs are allowed and none runs."""
        if self.over is None:
            self.over = "max_submits" if self.num_submitted >= self._max_submits else "max_time"

    # Workers that wait for jobs.

    def poll(self) -> int:
        """Return what is due: the number of a job that has ended, to be told; `ASK` to ask for a job now; `WAIT` to
        wait for a real result; `NOTHING` if the run is over.
        """
        if self.over:
            return NOTHING
        if self._stale:
            self._drop_stale()
        if self._starts and self._may_begin():
            return self._begin()
        lives = self._lives
        if lives is not None:
            lives.look(self.clock)
        if self._idle and self.num_submitted < self._max_submits and (lives is None or not lives.wanted()):
            at = self._since[self._idle[0]]
            if at < self._decided:
                at = self._decided
            if at < self._max_time:
                ends, told = self._ends, self.num_submitted >= self._tells_from
                if not told or not ends or ends[0][0] > at:
                    if told and self._open and self._first_bound()[0] <= at:
                        return WAIT  # it may have ended by then
                    if lives is not None and lives.look(at) > at:
                        return self.poll()  # the worker was taken away before
                    self.decision = at
                    if self.clock < at:
                        self.clock = at
                    return ASK
        answer = self._next(self._max_time)
        if answer == NOTHING:
            drained = self.num_submitted >= self._max_submits and not (
                self._ends or self._open or (lives is not None and lives.wanted())
            )
            self.over = "max_submits" if drained else "max_time"
        return answer

    @property
    def next_worker(self) -> int:
        """After `ASK`: the worker for which a job is asked."""
        return self._idle[0]

    def ask(
        self, overhead: float, key: str | None = None, fidelity: int | None = None, options: JobOptions = NO_OPTIONS
    ) -> int:
        """Make the job of the decision that `poll` announced, which took `overhead` seconds, and start it on the first
        idle worker; return its number. Raises `BadArgument` if the overhead is not a number of seconds.
        """
        at = self.decision
        if at is None:
            raise SimulationError("No decision is due; call ask once after each time that poll returned ASK.")
        start = at + check_overhead(overhead)
        self.decision = None
        if self._serial:
            self._decided = start
        worker = self._idle.popleft()
        if self._lives is not None:
            start = self._lives.hold(worker, start)
        job = self._new(worker, start)
        if options is not NO_OPTIONS:
            self._note_options(job, options)
        self.num_submitted += 1
        if key is not None and fidelity is not None and self.max_fidelity is not None:
            if self.begins_later:
                self._asked[job] = (key, fidelity)
            else:
                self._claim(job, key, fidelity, start)
        if self.begins_later:
            heappush(self._starts, (start, job))
        self._await(job, start, job)
        return job

    @property
    def begins_later(self) -> bool:
        """Whether a job must be run only when `poll` returns `BEGIN`, instead of immediately after `ask`.

        With parallel sampling, a job that is asked for later may start earlier, and leave or take a checkpoint. And a
        search that asks before it is told may ask for a job that resumes one whose real result is not known yet, or,
        if jobs may be stopped, one that is stopped during the decision.
        """
        return self.max_fidelity is not None and not (self._serial and self._tells_from == 0 and not self._stops)

    def _may_begin(self) -> bool:
        """Whether all decisions and ends before the next start have happened."""
        start, job = self._starts[0]
        asked = self._asked.get(job) if self._marks else None
        if asked is not None and self._checkpoints.are_undecided(job, asked, start, self._marks, self._ends):
            return False
        if self._serial:
            return start <= self._max_time  # jobs of later decisions start later
        if start > self._max_time or (self._ends and self._ends[0][0] < start):
            return False
        return not (self._idle and self.num_submitted < self._max_submits and self._since[self._idle[0]] < start)

    def _begin(self) -> int:
        start, job = self._starts[0]
        asked = self._asked.get(job)
        if self._may_be_left_one(asked) if self._serial else self._first_bound()[2] != job:
            return WAIT
        heappop(self._starts)
        self._asked.pop(job, None)
        if asked is not None:
            self._claim(job, asked[0], asked[1], start)
        self.marked = job
        return BEGIN

    # The schedule.

    def trace(self) -> list[TraceRow]:
        """Return one row per submitted job, in the order of submission, censored jobs included."""
        return list(self._trace.rows(*self._now()))

    def trace_until_now(self) -> Callable[[], list[TraceRow]]:
        """Return a function that returns the `trace` as it stands now, whatever happens later.

        It makes the rows when it is called: they take two microseconds each, and copying the columns a hundredth.
        """
        columns, now = self._trace.copy(), self._now()
        return lambda: list(columns.rows(*now))

    def trace_digest(self) -> str:
        """Return a hash of `trace`, for regression tests."""
        return digest(self._trace.rows(*self._now()))

    @property
    def checkpoints(self) -> dict[str, list[list[Any]]]:
        """The checkpoints that may be resumed, by configuration: ``[fidelity, total, ready, job, seed]`` of each."""
        return self._checkpoints.state()

    def state(self) -> dict[str, Any]:
        """Return the whole state as JSON. Costs the number of all jobs."""
        return {
            "settings": self._settings,
            "clock": self.clock,
            "ended": self.ended,
            "over": self.over,
            "num_submitted": self.num_submitted,
            "num_completed": self.num_completed,
            "marked": self.marked,
            "tried": self._tried,
            "decided": self._decided,
            "at": self.decision,
            "idle": list(self._idle),
            "since": list(self._since),
            "queue": list(self._queue),
            "again": self._queue.coming_again(),
            "priorities": list(self._queue.priorities.items()),
            "alone": sorted(self._queue.alone),
            "runs_alone": self._runs_alone,
            "limits": list(self._limits.items()),
            "ends": [list(entry) for entry in self._ends],
            "open": list(self._open.items()),
            "asked": [[job, *asked] for job, asked in self._asked.items()],
            "claims": [[job, *claim] for job, claim in self._claims.items()],
            "fates": list(self._end_statuses.items()),
            "stale": list(self._stale.items()),
            "stopping": sorted(self._stopping),
            "marks": list(self._marks.items()),
            "starts": [list(entry) for entry in self._starts],
            "checkpoints": self._checkpoints.state(),
            "trace": self._trace.state(),
            "lives": None if self._lives is None else self._lives.state(),
        }

    @classmethod
    def restore(cls: type[Self], state: dict[str, Any]) -> Self:
        """Make a kernel from a `state`; it continues exactly as the original would have."""
        model = state["settings"].get("worker_model")
        kernel = cls(**{**state["settings"], "worker_model": None if model is None else WorkerModel.restore(model)})
        kernel.clock, kernel.ended, kernel.over = state["clock"], state["ended"], state["over"]
        kernel.num_submitted, kernel.num_completed = state["num_submitted"], state["num_completed"]
        kernel.marked, kernel._decided, kernel.decision = state["marked"], state["decided"], state["at"]
        kernel._since = list(state["since"])
        if kernel._lives is None:
            kernel._idle = deque(state["idle"])
        else:
            kernel._lives.restore(state["lives"], kernel._since)
        kernel._limits, kernel._queue.priorities = dict(state["limits"]), dict(state["priorities"])
        kernel._tried = state["tried"]
        kernel._queue.alone, kernel._runs_alone = set(state["alone"]), state["runs_alone"]
        again = set(state["again"])
        for job in state["queue"]:
            (kernel._queue.append_again if job in again else kernel._queue.append)(job)
        kernel._ends = [(end, rank, worker) for end, rank, worker in state["ends"]]
        kernel._open = dict(state["open"])
        kernel._asked = {job: (key, fidelity) for job, key, fidelity in state["asked"]}
        for job, key, fidelity, resumed in state["claims"]:
            kernel._claims[job] = (key, fidelity, None if resumed is None else Checkpoint(*resumed))
            kernel._unknown.setdefault(key, {})[job] = fidelity
        kernel._end_statuses = dict(state["fates"])
        kernel._stale, kernel._marks = dict(state["stale"]), dict(state["marks"])
        kernel._stopping = set(state["stopping"])
        kernel._starts = [(start, job) for start, job in state["starts"]]
        kernel._checkpoints.restore(state["checkpoints"])
        kernel._trace.restore(state["trace"])
        kernel._bounds = [(bound, kernel._rank(job), job) for job, bound in kernel._open.items()]
        heapify(kernel._bounds)
        return kernel

    # The machinery.

    def _new(self, worker: int, start: float) -> int:
        trace = self._trace
        trace.worker.append(worker)
        trace.start.append(start)
        trace.charged.append(NAN)
        return len(trace.start) - 1

    def _note_options(self, job: int, options: JobOptions) -> None:
        if options.priority:
            self._queue.priorities[job] = options.priority
        if options.job_timeout is not None:
            self._limits[job] = options.job_timeout or None

    def _now(self) -> tuple[set[int], Container[int], str | None]:
        """Return what `Trace.rows` needs besides the columns: the jobs that wait or run first."""
        live = {self._job_of(rank) for _, rank, worker in self._ends if worker >= 0 and rank not in self._stale}
        live.update(self._open, self._queue, self._stopping)
        return live - self._trace.statuses.keys(), self._unused(), self.over

    def _rank(self, job: int) -> int:
        """Return what orders equal ends: the submission number."""
        return job

    def _job_of(self, rank: int) -> int:
        return rank

    def _unused(self) -> Container[int]:
        """Return numbers that belong to no job."""
        return ()

    def _await(self, job: int, bound: float, rank: int) -> None:
        """Note that the job's end is unknown, and not before `bound`."""
        self._open[job] = bound
        heappush(self._bounds, (bound, rank, job))

    def _claim(self, job: int, key: str, fidelity: int, start: float) -> None:
        """Take the checkpoint that the job resumes: one that is ready at its start, of a lower fidelity."""
        resumed = self._checkpoints.take(key, fidelity, start)
        self._claims[job] = (key, fidelity, resumed)
        self._unknown.setdefault(key, {})[job] = fidelity
        if resumed is not None:
            self._trace.resumed[job] = resumed.fidelity

    def _may_be_left_one(self, asked: tuple[str, int] | None) -> bool:
        """Whether a running job of unknown end may leave a checkpoint for this one until now."""
        if asked is None or asked[0] not in self._unknown:
            return False
        return any(fidelity < asked[1] for fidelity in self._unknown[asked[0]].values())

    def _unclaim(self, job: int) -> tuple[str, int, Checkpoint | None] | None:
        claim = self._claims.pop(job, None)
        if claim is not None:
            unknown = self._unknown[claim[0]]
            del unknown[job]
            if not unknown:
                del self._unknown[claim[0]]
        return claim

    def _first_bound(self) -> tuple[float, int, int]:
        """Return the job of unknown end that can end first, as (bound, rank, job). There must be one."""
        bounds, unknown = self._bounds, self._open
        while unknown.get(bounds[0][2]) != bounds[0][0]:
            heappop(bounds)
        return bounds[0]

    def _next(self, until: float) -> int:
        """Release the next end that is due by `until` and that no job of unknown end can still precede."""
        ends = self._ends
        if self._stale:
            self._drop_stale()
        if self._lives is not None and self._lives.wanted():
            up = self._lives.look(self.clock)  # when a worker is there for the job that waits
            if self._tried < up <= until and (not ends or up < ends[0][0]):
                if self._open and self._first_bound()[0] <= up:
                    return WAIT
                self.clock = up
                return UP
        if self._open:
            bound = self._first_bound()
            if not ends or bound < ends[0]:
                return WAIT if bound[0] <= until else NOTHING
        if not ends or ends[0][0] > until:
            return NOTHING
        end, rank, worker = heappop(ends)
        if self.clock < end:
            self.clock = end
        if worker < 0:
            self._marks[rank] -= 1
            self.marked = rank
            return MARK
        self._since[worker] = end
        job = self._freed(rank, worker)
        if self._end_statuses and self._settle(job):
            self.marked = job
            return RETRIED
        self._stopping.discard(job)
        if self._marks:
            left = self._marks.pop(job, 0)
            if left:
                self._stale[job] = self._stale.get(job, 0) + left
        self.ended = end
        self.num_completed += 1
        if self.num_completed == self._max_evals:
            self.over = "max_evals"
        return job

    def _freed(self, rank: int, worker: int) -> int:
        """Make the worker idle; return the job that it ran."""
        if self._lives is None:
            self._idle.append(worker)
        else:
            self._lives.ended(rank, worker)
        return rank

    def _settle(self, job: int) -> bool:
        """Set the status of a job that ends and may not be DONE; True if it is queued again."""
        status = self._end_statuses.pop(job, None)
        if status == RETRY:
            trace = self._trace
            if self._lives is None or not self._lives.again(job):
                trace.again.append((trace.start[job], trace.end(job)))
            trace.worker[job], trace.start[job], trace.charged[job] = -1, NAN, NAN
            trace.submit[job] = self.clock
            trace.resumed.pop(job, None)
            self._queue.append_again(job)
            self.marked = job
            return True
        if status is not None:
            self._trace.statuses[job] = status
        return False

    def _drop_stale(self) -> None:
        """Remove entries of jobs that have ended already from the top of the heap: their old ends, and late marks."""
        ends, stale, stopping = self._ends, self._stale, self._stopping
        while ends and ends[0][1] in stale and ends[0][1] not in stopping:
            job = heappop(ends)[1]
            stale[job] -= 1
            if not stale[job]:
                del stale[job]
