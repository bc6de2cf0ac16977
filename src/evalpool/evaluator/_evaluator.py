"""The life cycle of jobs, once for all backends.

::

    submit(configurations)                    caller's thread
      Job READY, recorded, on_launch
      -> ready queue
    _pump: a slot is free -> _dispatch(job)   whichever thread freed the slot
      -> worker: run_function(RunningJob, **run_function_kwargs)
      <- _report(job, outcome)                backend's thread; the pump runs again at once
      -> inbox
    gather("BATCH" | "ALL")                   caller's thread
      record, on_done, on_gather
      -> list[Job]

One lock guards the ready queue, the slots, the lent resources and the inboxes; it is held for a few
bytecodes a job, and no backend, no storage and no callback is ever called under it, except
`_acquire` and `_release`, which exist to be. Only one thread dispatches at a time, without the lock: others
that free a slot meanwhile leave it to that one, which looks again before it ends. So a backend's
`_dispatch` needs no lock against itself.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

from evalpool._checks import check_choice, check_number, check_seconds, check_wait
from evalpool._clock import monotonic
from evalpool._fork import Order, at_fork
from evalpool._interrupts import (
    Opened,
    Shielded,
    from_a_handler,
    install,
    keep_installed,
    uninstall,
    when_told_to_end,
)
from evalpool._json import jsonable
from evalpool._log import get_logger
from evalpool.errors import BadArgument, EvalpoolError, EvaluatorClosed, StorageError
from evalpool.evaluator import _settings
from evalpool.evaluator._back_off import BackOff
from evalpool.evaluator._backend import Backend, disposed_if_it_fails
from evalpool.evaluator._core import Core
from evalpool.evaluator._fence import Fence
from evalpool.evaluator._first_failures import FirstFailures
from evalpool.evaluator._foreign_jobs import ForeignJobs, job_of
from evalpool.evaluator._gathering import Gathering, raise_first_failure
from evalpool.evaluator._hook_queue import HookQueue
from evalpool.evaluator._job_events import JobEvents
from evalpool.evaluator._ledger import JobLedger
from evalpool.evaluator._open_search import OpenSearch
from evalpool.evaluator._port import Port, Refusal, Turn
from evalpool.evaluator._recorder import recorder_for
from evalpool.evaluator._resume import resume
from evalpool.evaluator._scheduler import HookResources, Resources
from evalpool.evaluator._stop_control import StopControl
from evalpool.evaluator._submission import enter
from evalpool.evaluator._timeline import RealTime, Timeline, Times, Underneath
from evalpool.evaluator._watchdog import Watchdog
from evalpool.evaluator._watching import Watching
from evalpool.jobs._best import best
from evalpool.jobs._inbox import Inbox
from evalpool.jobs._job import Job
from evalpool.jobs._options import JobOptions, Submission
from evalpool.jobs._seeds import fresh_seed
from evalpool.outcomes import FINAL, FailureKind
from evalpool.storage._records import minimizes
from evalpool.worker._call import Task, release

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Never, Self

    from evalpool.batch._deadline import Deadline
    from evalpool.callbacks import Callback
    from evalpool.evaluator._attempt import Attempt
    from evalpool.evaluator._names_above import (
        ExecutorEvaluator,
        MPICommEvaluator,
        ProcessPoolEvaluator,
        RayEvaluator,
        SerialEvaluator,
        ThreadPoolEvaluator,
    )
    from evalpool.models import JobRecord
    from evalpool.outcomes import Worker
    from evalpool.storage import Storage

__all__ = ["Evaluator", "let_go_of_all"]

logger = get_logger()

ALL = 1 << 61

OLD_HOOKS = frozenset(
    {"_ask_to_stop", "_await", "_dispatch", "_dispatch_all", "_interrupt", "_start", "_stop", "_wait"}
)
"""What a subclass defines that is a backend of the old form; see `_old_backends`."""

_open_evaluators: weakref.WeakSet[Evaluator] = weakref.WeakSet()


class Evaluator:
    """Runs a run-function on configurations and gives the results back as they complete.

    Use one of the backends, or `Evaluator.create`. Every public method may be called from any thread. A subclass names
    its engine, a `evalpool.backends.Backend`, as `backend_class`, and passes the engine's own arguments on.

    Args:
        run_function: ``f(job, **run_function_kwargs)``, sync or async; `job` is a `RunningJob`.
        num_workers: how many run at the same time; -1 for every usable CPU.
        callbacks: watchers, called in the caller's thread.
        run_function_kwargs: keyword arguments for every call, sent once per worker.
        storage: where records are kept; or its URL, ``"sqlite:///results.db"``, for a client that is opened and closed
            with the evaluator; None: in a memory of its own.
        search_id: an existing search of `storage` to go on with; ``"latest"`` for its last one.
        job_timeout: seconds that one job may run; then it ends as ``F_timeout``. A `Submission` may say otherwise.
        retries: how often a job whose worker died or that raised is run again; a `Retries` to tell the two apart.
        on_error: ``"record"`` keeps a failure as that job's outcome; ``"raise"`` makes `gather` raise `JobError`.
        seed: of the search; each job's own seed derives from it and the job's number.
        job_type: ``"hpo"``: the run-function returns an objective; ``"task"``: any value.
        stopper: decides from what jobs `record` which of them end early.

    Raises:
        BadArgument: an argument has a wrong type or value.
        UnknownSearch: `search_id` is not in `storage`.
        NotShareable: the workers could not reach `storage`.
    """

    def __init__(
        self,
        run_function: Callable[..., Any],
        *,
        num_workers: int = 1,
        callbacks: Iterable[Callback] | None = None,
        run_function_kwargs: dict[str, Any] | None = None,
        storage: Storage | str | None = None,
        search_id: str | None = None,
        job_timeout: float | None = None,
        retries: Any = 0,
        on_error: str = "record",
        seed: int | None = None,
        job_type: str = "hpo",
        stopper: Any = None,
        **own: Never,
    ) -> None:
        self._run_function = _settings.check_run_function(run_function)
        self._callbacks = _settings.check_callbacks(callbacks)
        self._run_function_kwargs = _settings.check_kwargs(run_function_kwargs)
        self._job_timeout = check_seconds("job_timeout", job_timeout)
        self._retries = _settings.check_retries(retries)
        self._on_error = check_choice("on_error", on_error, ("record", "raise"))
        self._job_type = check_choice("job_type", job_type, ("hpo", "task"))
        self._stopper = _settings.check_stopper(stopper)
        self._seed = fresh_seed() if seed is None else check_number("seed", seed, 0)
        self._backend = backend = self._make_backend(own)
        with disposed_if_it_fails(backend):
            wanted = -1 if backend.counts_workers and num_workers == -1 else _settings.check_workers(num_workers)
            count = backend.open(wanted)
            self._serves = count == 0
            self._num_workers = max(count, 1)
            if self._serves:  # records and callbacks are those of the process that searches
                storage = search_id = None
                self._callbacks = []
            self._open_search(storage, search_id, seed_given=seed is not None)

        self._hooks = HookQueue(self._callbacks)
        self._watchdog = Watchdog(f"evalpool-deadlines-{self._owner[:6]}")
        resources = self._make_core()
        self._make_recorder()
        if self._timeline is not None:
            self._hand_over_time(self._timeline, resources)
        self._cap: int | None = None
        self._spare_numbers: list[tuple[int, int]] = []  # first and how many
        self._enter_lock = threading.RLock()  # of submissions under a cap
        self._started_up = False
        self._start_lock = threading.Lock()
        with disposed_if_it_fails(backend):
            for callback in self._callbacks:
                callback.on_open()
        self._shields = False  # we stand before the handler of Ctrl-C
        self._port = Port(self)
        self._engine_wait = None if type(backend).wait is Backend.wait else backend.wait
        _open_evaluators.add(self)
        if self._serves:
            try:
                backend.serve()
            finally:
                self.close()

    def _make_core(self) -> Resources | None:
        """Returns what jobs are lent."""
        name = type(self).__name__
        resources = self._resources
        if resources is None and type(self)._acquire is not Evaluator._acquire:
            resources = HookResources(self)
        ledger = JobLedger(
            self._num_workers,
            retries=self._retries,
            job_timeout=self._job_timeout,
            resources=resources if self._timeline is None else None,  # else it is lent in that time
        )
        core = self._core = Core(
            ledger, self._backend, name=name, timeline=self._timeline, has_stopper=self._stopper is not None
        )
        core.stops = self._stops = StopControl(
            core,
            self._backend,
            self._watchdog.after,
            name=name,
            origin=self._origin,
            may_suspend=self._storage.durable and (self._timeline is None or self._timeline.can_suspend),
        )
        self._inbox = core.inbox
        if self._timeline is None:
            self._ends: StopControl | Timeline = core.stops
            self._accept = core.accept
            self._accept_last_chances = core.accept_last_chances
        else:
            self._may_await = self._timeline.may_await
        return resources

    def _hand_over_time(self, timeline: Timeline, resources: Resources | None) -> None:
        """Jobs end in another time than that of the clock."""
        self._core.ledger.own_limits = False  # those of jobs are in that time
        timeline.attach(
            Underneath(
                name=type(self).__name__,
                core=self._core,
                resources=resources,
                wait=self._wait_for,
                give_back=lambda: self._finish(self._inbox),
                watching=self._watching,
            )
        )
        self._ends = timeline
        self._accept = self._accept_last_chances = timeline.accept  # when a job runs is for the timeline to say

    def _make_recorder(self) -> None:
        search, core, hooks = self._search, self._core, self._hooks
        self._times: Times = RealTime(self._origin, self._described) if self._timeline is None else self._timeline
        back_off = BackOff()
        fence = self._fence = Fence(
            search, core, self._watchdog.after, back_off=back_off, may_await=self._may_await,
            is_isolated=lambda: self._backend.jobs_are_isolated,
        )  # fmt: skip
        recorder = fence.recorder = self._recorder = recorder_for(
            search, JobEvents(search, self._times), back_off, fence, core.held
        )
        if recorder.unrecorded is not None:
            core.unrecorded, core.record, core.leave = recorder.unrecorded, recorder.outcomes, fence.leave
        self._watching = Watching(self._stopper, recorder, hooks)
        self._foreign_jobs = ForeignJobs(search, hooks, back_off, fence.is_ours)
        self._gathering = Gathering(
            search, core, self._times, recorder=recorder, fence=fence, hooks=hooks, foreign_jobs=self._foreign_jobs,
            first_failures=FirstFailures(self._callbacks),
        )  # fmt: skip

    # Construction.

    backend_class: ClassVar[type[Backend] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_is_old_form" not in vars(cls) and not OLD_HOOKS.isdisjoint(vars(cls)):
            from evalpool.evaluator._old_backends import adapt

            adapt(cls)

    def _make_backend(self, own: dict[str, Any]) -> Backend:
        cls = type(self)
        if cls.backend_class is None:
            raise BadArgument(
                f"{cls.__name__} has no engine: make one by its name, Evaluator.create(run, method='thread'); a class "
                "of yours names its engine as backend_class."
            )
        if own:
            _settings.check_keywords(cls, own)
        return cls.backend_class(**own)

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["serial"] = ...,
        method_kwargs: dict[str, Any] | None = None,
    ) -> SerialEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["thread"],
        method_kwargs: dict[str, Any] | None = None,
    ) -> ThreadPoolEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["process", "loky"],
        method_kwargs: dict[str, Any] | None = None,
    ) -> ProcessPoolEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["ray"],
        method_kwargs: dict[str, Any] | None = None,
    ) -> RayEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["mpicomm", "mpi"],
        method_kwargs: dict[str, Any] | None = None,
    ) -> MPICommEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: Literal["executor"],
        method_kwargs: dict[str, Any] | None = None,
    ) -> ExecutorEvaluator: ...

    @overload
    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: str,
        method_kwargs: dict[str, Any] | None = None,
    ) -> Evaluator: ...

    @staticmethod
    def create(
        run_function: Callable[..., Any],
        method: str = "serial",
        method_kwargs: dict[str, Any] | None = None,
    ) -> Evaluator:
        """Make an evaluator by its method's name.

        >>> evaluator = Evaluator.create(lambda job: job["x"] ** 2, method="serial")
        >>> jobs = evaluator.submit([{"x": 3}])
        >>> [job.objective for job in evaluator.gather()]
        [9]
        >>> evaluator.close()
        []

        Raises:
            UnknownMethod: lists the known ones.
            BadArgument: a keyword that the method does not have; lists those it has.
        """
        from evalpool.evaluator._registry import EVALUATORS

        cls = EVALUATORS[method]
        kwargs = _settings.check_kwargs(method_kwargs)
        _settings.check_keywords(cls, kwargs)
        return cls(run_function, **kwargs)

    _may_await = True
    """A job that another evaluator claimed may be given back later than it was asked for, with that one's result."""

    def _reaches(self, storage: Storage) -> bool:
        """Can the workers use this storage?"""
        return self._backend.reaches(storage)

    def _check_reach(self, storage: Storage) -> None:
        if not self._reaches(storage):
            raise _settings.unreachable(storage, type(self).__name__, self._backend.sharing())

    def _open_search(self, storage: Storage | str | None, search_id: str | None, seed_given: bool) -> None:
        self._search = OpenSearch(
            storage, search_id, job_type=self._job_type, seed=self._seed, seed_given=seed_given,
            check=self._check_reach, user=self,
        )  # fmt: skip
        self._storage = self._search.storage
        self._search_id = self._search.search_id
        self._seed = self._search.seed
        self._origin = self._search.origin
        self._owner = self._search.owner

    # What a decorator hands in.

    _resources: Resources | None = None
    """Lent to jobs while they run."""

    _timeline: Timeline | None = None
    """Of simulated time."""

    # What a decorator of the old form implements.

    def _acquire(self, job: Job[Any]) -> dict[str, Any] | None:
        """Lend resources to a job, as keyword arguments of its run-function; None: not yet. Called under the lock."""
        return {}

    def _release(self, job: Job[Any]) -> None:
        """Take back what `_acquire` lent. Called under the lock, whatever became of the job."""

    def _describe_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        """What a job's metadata says of the resources it was lent."""
        return {}

    # Submission.

    def submit(self, configurations: Iterable[dict[str, Any] | Submission]) -> list[Job[Any]]:
        """Submit configurations for evaluation; work starts at once. Returns at once.

        Args:
            configurations: dicts with text keys, which are copied; or each a `Submission`, a dict with options.

        Raises:
            BadArgument: one of them is neither such a dict nor a `Submission`; none has been taken.
            EvaluatorClosed: after `close`.
            KeyboardInterrupt: either all have been taken, and `gather` returns them, or none has.
            MaximumJobsSpawnReached: more than `set_maximum_num_jobs_submitted` allows; none has been taken.
            NotJSON: a configuration that the storage cannot keep, with the place of the value; none has been taken.
            StorageUnavailable: the storage cannot record them; none has been taken.
        """
        return self._submit(configurations, self._inbox)

    def _submit(self, configurations: Iterable[dict[str, Any] | Submission], inbox: Inbox) -> list[Job[Any]]:
        if self._core.closed:
            raise EvaluatorClosed(f"This {type(self).__name__} is closed; make a new one to submit more jobs.")
        if type(configurations) is not list and (
            isinstance(configurations, (dict, str)) or not isinstance(configurations, Iterable)
        ):
            raise BadArgument(
                f"submit got {configurations!r} of type {type(configurations).__name__}; give a list of dicts: "
                "submit([{'x': 1}])."
            )
        check = _settings.check_configuration
        to_json = self._search.needs_json
        options: dict[int, JobOptions] = {}
        checked = [check(configuration, to_json, options) for configuration in configurations]
        if self._timeline is not None:
            self._timeline.check(checked)
        if not self._started_up:
            self._start_up()
        if not checked:
            return []
        if to_json:
            jsonable(checked, "configurations")  # before any number is taken
        if self._storage.durable:
            self._fence.take()
        if self._timeline is not None:
            with self._timeline.lock:
                jobs = enter(self, checked, options, inbox)
        elif self._cap is None:
            jobs = enter(self, checked, options, inbox)
        else:  # one after the other: see `evalpool.storage._abandoned`
            with self._enter_lock:
                jobs = enter(self, checked, options, inbox)
        if self._core.is_closed():  # by another thread meanwhile: it may not have seen these
            self._stops.end_all(FailureKind.CANCELLED, "the evaluator was closed")
        if self._hooks.notices or self._recorder.noted:
            self._gathering.tell_notices()
        return jobs

    def _start_up(self) -> None:
        with self._start_lock:
            if not self._started_up:
                self._shields = install()
                self._start_backend()
                self._started_up = True

    def _start_backend(self) -> None:
        try:
            self._backend.start(self._port)
        except EvalpoolError:
            raise
        except Exception as error:
            if from_a_handler(error):
                raise
            self._core.backend = Refusal(self._port, error)
            self._core.add_slots(self._num_workers - self._core.ledger.capacity)

    def _make_task(self) -> Task:
        """What a worker needs once."""
        return Task(self._run_function, self._run_function_kwargs, self._search_id, self._job_type, self._seed)

    def as_completed(
        self, configurations: Iterable[dict[str, Any] | Submission], max_pending: int | None = None
    ) -> Iterator[Job[Any]]:
        """Evaluate configurations and yield each job when it is done.

        `configurations` may be endless: only `max_pending` jobs (default: twice the workers) are out at a time.
        Jobs submitted otherwise are left to `gather`. Closing the iterator cancels what it has out.
        """
        if max_pending is None:
            max_pending = 2 * self.num_workers
        limit = check_number("max_pending", max_pending, 1)
        return self._as_completed(iter(configurations), limit)

    def _as_completed(self, configurations: Iterator[dict[str, Any] | Submission], limit: int) -> Iterator[Job[Any]]:
        inbox = Inbox()
        out: dict[int, Job[Any]] = {}
        fresh: deque[Job[Any]] = deque()
        exhausted = False
        try:
            while True:
                while not exhausted and len(out) < limit:
                    try:
                        configuration = next(configurations)
                    except StopIteration:
                        exhausted = True
                        break
                    for job in self._submit([configuration], inbox):
                        out[job.number] = job
                if not out:
                    return
                fresh.extend(self._gather(inbox, 1, None))
                while fresh:
                    job = fresh.popleft()
                    out.pop(job.number, None)
                    yield job
        finally:
            if inbox.outstanding:
                # An interrupt may have struck between a job's submission and our note of it.
                noted = self._core.jobs_of(inbox)
                self.cancel(list({**out, **{job.number: job for job in noted}}.values()))
                self._gather(inbox, ALL, None)

    # Starts, deadlines and records of running jobs.

    @property
    def _watches_starts(self) -> bool:
        """Must the backend tell when a job starts? It costs a call per job, so only if somebody wants to know."""
        if self._timeline is not None:
            return False  # a job starts when the timeline says so; when it really does is no news
        return self._core.has_deadlines or self._watching.starts

    def _expect_deadlines(self) -> None:
        """A job with a time limit of its own is about to be queued."""
        self._core.has_deadlines = self._port.has_deadlines = True
        self._port.watches_starts = self._watches_starts

    def _attempt_started(self, attempt: Attempt, worker: Worker | None = None) -> None:
        """It begins to run; called by the backend, from any thread."""
        job = attempt.job
        job._started = monotonic() - self._origin
        self._stops.started(attempt)
        if self._watching.starts:
            self._watching.started(job, job._started, attempt.number, worker)

    def _attempt_recorded(self, attempt: Attempt, budget: float, objective: Any) -> bool:
        """A running job recorded an intermediate result; returns whether it shall stop. Any thread."""
        job = attempt.job
        if self._timeline is not None:
            return self._timeline.recorded(job.number, budget, objective)
        if self._core.ledger.running.get(job.number) is not attempt:
            return True
        return self._watching.recorded(job, budget, objective)

    # Waiting.

    def gather(self, type: str = "ALL", size: int = 1, timeout: float | None = None) -> list[Job[Any]]:
        """Wait for jobs and return all that are done, each exactly once, in the order of completion.

        Args:
            type: ``"ALL"``: everything outstanding; ``"BATCH"``: at least `size` jobs.
            size: reduced with a warning to what is outstanding.
            timeout: seconds to wait at the most; then what is done is returned, possibly nothing.

        Raises:
            BadArgument: another `type`, a `size` below 1.
            JobError: a job failed under ``on_error="raise"``; all gathered jobs are in its `jobs`.
        """
        if type == "BATCH" and size == 1 and timeout is None:  # the step of a search loop: nothing to check
            return self._gather(self._inbox, 1, None)
        return self._gather(self._inbox, self._size(type, size), check_wait("timeout", timeout))

    def _size(self, type: str, size: int) -> int:
        check_choice("gather's type", type, ("ALL", "BATCH"))
        size = check_number("size", size, 1)
        outstanding = self._inbox.outstanding
        if type == "ALL":
            return ALL
        if 0 < outstanding < size:
            warnings.warn(
                f"gather was asked for {size} jobs and {outstanding} are outstanding; it waits for {outstanding}.",
                stacklevel=3,
            )
        return size

    def _gather(self, inbox: Inbox, size: int, timeout: float | None) -> list[Job[Any]]:
        if self._hooks.notices or self._recorder.noted:
            self._gathering.tell_notices()
        if size == ALL:
            size = max(1, inbox.outstanding)
        keep_installed()
        deadline = None if timeout is None else monotonic() + timeout
        if self._timeline is not None:
            self._timeline.wait(inbox, size, timeout)
        elif len(inbox.done) < inbox.needed(size):
            self._core.pump_what_is_left()
            self._wait_for(inbox, size, deadline)
        jobs = self._finish(inbox)
        if self._fence.was_needed and len(jobs) < size and self._may_await:
            return self._gather_more(jobs, inbox, size, deadline)
        return jobs

    def _gather_more(self, jobs: list[Job[Any]], inbox: Inbox, size: int, deadline: float | None) -> list[Job[Any]]:
        """As `gather`, with `jobs` already taken: some that were done turned out to be another evaluator's."""
        try:
            while len(jobs) < size and inbox.outstanding and not self._core.closed:
                if deadline is not None and monotonic() >= deadline:
                    break
                self._wait_for(inbox, size - len(jobs), deadline)
                if len(inbox.done) < inbox.needed(size - len(jobs)):
                    self._fence.wait(inbox, deadline)
                jobs.extend(self._finish(inbox))
        except BaseException:
            self._core.put_back(inbox, jobs)
            raise
        return jobs

    def _wait_for(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        """Wait until `inbox` has `size` jobs, or all that are outstanding; the engine may work meanwhile."""
        wait = self._engine_wait
        if wait is None or not self._wait_with(wait, inbox, size, deadline):
            self._core.wait(inbox, size, deadline)

    def _wait_with(self, wait: Callable[[Turn], bool], inbox: Inbox, size: int, deadline: float | None) -> bool:
        turn = Turn(self._core, inbox, size, deadline)
        try:
            return wait(turn)
        finally:
            if turn.wakers is not None:
                turn.end()

    async def agather(self, type: str = "ALL", size: int = 1, timeout: float | None = None) -> list[Job[Any]]:
        """As `gather`, inside a running event loop, which goes on meanwhile."""
        wanted = self._size(type, size)
        rest = check_wait("timeout", timeout)
        if self._timeline is not None:  # its time passes in a thread beside
            import asyncio

            return await asyncio.to_thread(self._gather, self._inbox, wanted, rest)
        if wanted == ALL:
            wanted = max(1, self._inbox.outstanding)
        deadline = None if rest is None else monotonic() + rest
        self._core.pump_what_is_left()
        if self._backend.waits:  # whoever waits does the work; on a thread, so that the caller's loop goes on
            import asyncio

            await asyncio.to_thread(self._wait_for, self._inbox, wanted, deadline)
        else:
            await self._core.wait_in_a_loop(self._inbox, wanted, deadline, self._watchdog.after)
        jobs = self._finish(self._inbox)
        if self._fence.was_needed and len(jobs) < wanted:
            import asyncio

            return await asyncio.to_thread(self._gather_more, jobs, self._inbox, wanted, deadline)
        return jobs

    def _finish(self, inbox: Inbox) -> list[Job[Any]]:
        """Take what is done, record it and call the callbacks; in the caller's thread."""
        jobs: list[Job[Any]] = []
        try:
            with Shielded():
                jobs = self._core.take(inbox)
                with Opened():
                    self._gathering.conclude(jobs)
        except BaseException:
            # Interrupted: the jobs are not lost, the next gather has them, and nothing is recorded twice.
            self._core.put_back(inbox, jobs)
            raise
        if self._on_error == "raise":
            raise_first_failure(jobs)
        return jobs

    def _described(self, extra: dict[str, Any]) -> dict[str, Any]:
        resources = self._core.ledger.scheduler.resources
        if resources is None:
            return {}
        try:
            return resources.describe(extra)
        except Exception:
            logger.exception("%r could not be described; the metadata of the job lack what it was lent.", resources)
            return {}

    # Other clients of the same search.

    def gather_other_jobs_done(self) -> list[Job[Any]]:
        """Return what other clients of this search finished since the last call, each job once."""
        news = self._foreign_jobs.look(at_once=True)
        if news:
            self._hooks.add("on_gather", [], news)
        self._hooks.deliver()
        return self._foreign_jobs.take()

    def resume(self, max_lost: int | None = 3) -> int:
        """Go on with an existing search: deliver what had finished, run again what was lost.

        The next `gather` returns the jobs that had finished, once, with ``restored`` in their metadata. Jobs that
        waited or ran, and whose owner is gone, are queued again; those of an owner that lives are left to it. Ids,
        seeds and timestamps continue. Costs the jobs of the search, once.

        Args:
            max_lost: a job that ran at `max_lost` ends of an evaluator is given up as ``F_worker_died``, for it may be
                what ended them; before that it gets a last chance, alone. Suspended jobs are not lost. None: no limit.
                There is none where a job that ends its process cannot end the evaluator: on workers of their own
                processes (``process``, ``ray``, ``mpicomm`` with isolation, an executor of processes).

        Returns:
            how many jobs were queued again; 0 on a search that this evaluator began.

        Raises:
            BadArgument: `max_lost` is neither None nor a whole number of at least 1.
        """
        if max_lost is not None:
            max_lost = check_number("max_lost", max_lost, 1)
        if self._core.closed:
            raise EvaluatorClosed(f"This {type(self).__name__} is closed; make a new one to resume the search.")
        if self._search.begun or not self._storage.keeps:
            return 0
        self._start_up()
        self._fence.take()
        found = resume(self, None if self._backend.jobs_are_isolated else max_lost)
        self._core.accept_ended([*((job, None) for job in found.restored), *found.given_up], self._inbox)
        if found.given_up:
            self._recorder.outcomes([job for job, _ in found.given_up])
        with Shielded():
            self._accept(found.again, self._inbox)
        if found.last_chances:
            self._accept_last_chances(found.last_chances, self._inbox)
        return len(found.again) + len(found.last_chances)

    # Results.

    def best(self, n: int = 1) -> list[Job[Any]]:
        """The `n` best jobs of this search, best first; see `evalpool.best`. Costs the jobs of the search.

        All that is recorded counts, also what other clients and earlier runs found. A search that is marked
        to be minimised (``evalpool run --minimize``) has its smallest objectives first.

        Raises:
            BadArgument: the storage keeps nothing, or `n` is below 1.
        """
        if self._search.own is not None:
            return best(self._search.own.finished, n)
        jobs = [job_of(record, self._search) for record in self.results()]
        return best(jobs, n, minimize=minimizes(self.storage, self._search_id))

    def results(self) -> list[JobRecord]:
        """The records of all jobs of this search, also of other clients', in the order of their numbers.

        Raises:
            BadArgument: the storage keeps nothing.
        """
        return self.storage.results(self._search_id)

    def to_dataframe(self) -> Any:
        """`results` as a `pandas.DataFrame` with the columns of the tables (extra ``pandas``)."""
        from evalpool.tables._frames import frame_of

        return frame_of(self.results(), self._job_type)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write `results` to a CSV file, atomically; returns its absolute path."""
        from evalpool.tables._tables import write_table

        return write_table(path, self.results(), self._job_type)

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write `results` to a Parquet file, atomically; returns its absolute path (extra ``pandas``)."""
        from evalpool.tables._frames import write_parquet

        return write_parquet(path, self.results(), self._job_type)

    def dump_jobs_done_to_csv(self, log_dir: str = ".", filename: str = "results.csv", flush: bool = False) -> Path:
        """Write the jobs that have ended to ``<log_dir>/<filename>``, whole; deephyper's name for `to_csv`.

        Args:
            log_dir: an existing directory.
            filename: of the table.
            flush: return only when the file is on the disk, not in the system's cache.
        """
        from evalpool.tables._tables import write_table

        done = [record for record in self.results() if record.status in FINAL]
        path = write_table(os.path.join(log_dir, filename), done, self._job_type)
        if flush:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        return path

    # Stopping.

    def cancel(self, jobs: Iterable[Job[Any]] | Job[Any]) -> int:
        """Cancel jobs; they are gathered as CANCELLED. Returns how many had no outcome yet.

        A waiting job is cancelled at once. A running one is asked to stop (`RunningJob.stopped` turns True) and,
        after a grace of a quarter of a second, stopped by force where the engine can.
        """
        if isinstance(jobs, Job):
            jobs = [jobs]
        jobs = list(jobs)
        for job in jobs:
            if job._evaluator is not self:
                raise BadArgument(f"{job!r} was not submitted to this {type(self).__name__}.")
        return self._ends.cancel(jobs)

    @property
    def timeout(self) -> float | None:
        """The time budget in seconds; setting it starts it, None lifts it. When it is spent, all jobs end CANCELLED.

        A `Deadline` sets it to what is left until then; jobs that have not ended by then are left to be resumed, as by
        `suspend`.
        """
        return self._ends.timeout

    @timeout.setter
    def timeout(self, value: float | Deadline | None) -> None:
        from evalpool.batch._deadline import Deadline

        suspends = isinstance(value, Deadline)
        if isinstance(value, Deadline):
            value = max(value.time_left, 1e-6)  # one that has passed is a budget that is spent
        seconds = check_seconds("timeout", value)
        self._ends.set_budget(seconds, suspends)
        if self._timeline is None:
            self._port.has_deadlines = self._core.has_deadlines or seconds is not None

    @property
    def time_left(self) -> float | None:
        """Seconds left of `timeout`, 0.0 when it is spent; None without one."""
        return self._ends.time_left()

    def suspend(self) -> list[Job[Any]]:
        """As `close`, but leave what is unfinished to be resumed; returns those jobs.

        Jobs that run are stopped as by `close`; neither their end nor that of those that wait is recorded, and their
        lease is given up: `resume` runs them again at once, from wherever. Here they are CANCELLED, of the kind
        SUSPENDED, and callbacks are not told of them. With a storage that ends with the program it is `close`.
        """
        self._let_go()
        return self.close()

    def _let_go(self) -> None:
        """From now on leave what ends unfinished to be resumed; also from a signal's handler."""
        self._backend.told_to_end()
        self._stops.suspend()

    def close(self) -> list[Job[Any]]:
        """Stop everything and release the workers; returns the unfinished jobs, CANCELLED.

        What had finished and was not gathered is recorded, and a later `gather` still returns it. Idempotent;
        waits a quarter of a second at the most for running jobs that notice the request, then uses force.
        """
        core = self._core
        held_back = self._timeline.close() if self._timeline is not None else []
        with self._start_lock:
            if core.closed:
                return []
            core.closed = True
        _open_evaluators.discard(self)
        try:
            return self._close(held_back)
        finally:
            self._backend.dispose()

    def _close(self, held_back: list[Job[Any]]) -> list[Job[Any]]:
        core = self._core
        running = [attempt.job for attempt in core.ledger.running.values()]
        unfinished = self._stops.end_all(FailureKind.CANCELLED, "the evaluator was closed")
        if self._started_up:
            core.wait_until_idle(self._backend.close_grace)
            self._backend.shutdown(bool(core.ledger.running))
        core.end_running()
        self._watchdog.close()
        unfinished.extend(job for job in running if job._stop in (FailureKind.CANCELLED, FailureKind.SUSPENDED))
        finished, unfinished = core.take_unfinished(unfinished + held_back)
        if self._hooks.notices or self._recorder.noted:
            self._gathering.tell_notices()
        self._gathering.conclude(finished)
        self._hooks.call("on_close")
        self._leave_storage()
        release(self._run_function)
        if self._shields:
            self._shields = False
            uninstall()
        return unfinished

    def _leave_storage(self) -> None:
        try:
            try:
                self._recorder.write_rest()
                self._fence.close()
            finally:
                self._search.leave()
        except Exception as error:  # of a client of somebody else's it may be any
            if from_a_handler(error):
                raise
            trace = None if isinstance(error, StorageError) else error
            logger.error("The records of search %s are not all written: %s", self._search_id, error, exc_info=trace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Facts.

    @property
    def num_workers(self) -> int:
        """How many jobs run at the same time."""
        return self._num_workers if self._timeline is None else self._timeline.num_workers

    @property
    def callbacks(self) -> list[Any]:
        """The watchers, in the order in which they are called."""
        return list(self._callbacks)

    @property
    def storage(self) -> Storage:
        """Where this evaluator's records are kept. One that was given by its URL is opened again after `close`."""
        if self._core.closed:
            self._search.look_again(self)
            self._storage = self._search.storage
        return self._storage

    @property
    def search_id(self) -> str:
        """This search's id in `storage`."""
        return self._search_id

    @property
    def seed(self) -> int:
        """The seed from which the jobs' seeds derive."""
        return self._seed

    @property
    def run_function(self) -> Callable[..., Any]:
        """The run-function."""
        return self._run_function

    @property
    def run_function_kwargs(self) -> dict[str, Any]:
        """Its keyword arguments."""
        return self._run_function_kwargs

    @property
    def job_type(self) -> str:
        """``"hpo"`` or ``"task"``."""
        return self._job_type

    @property
    def is_master(self) -> bool:
        """Does this process search? False only on the serving ranks of an MPI evaluator."""
        return not self._serves

    @property
    def num_jobs_submitted(self) -> int:
        """Jobs that this evaluator took."""
        return self._core.num_submitted

    @property
    def num_jobs_gathered(self) -> int:
        """Jobs that this evaluator gave back."""
        return self._core.num_gathered

    def set_maximum_num_jobs_submitted(self, maximum: int | None) -> None:
        """Cap the jobs of this search, exactly, over all clients that set a cap; None lifts it."""
        self._cap = None if maximum is None or maximum == -1 else check_number("maximum", maximum, 0)

    def __repr__(self) -> str:
        ledger = self._core.ledger
        counts = f"{len(ledger.running)} running, {len(ledger.scheduler)} waiting"
        state = "closed" if self._core.closed else counts
        return f"{type(self).__name__}(num_workers={self._num_workers}, search_id={self._search_id!r}, {state})"


@when_told_to_end
def let_go_of_all() -> None:
    """The program is told to end: every open evaluator leaves what is unfinished to be resumed; signals' handlers."""
    while True:
        try:
            evaluators = list(_open_evaluators)
        except RuntimeError:  # another thread opened one meanwhile
            continue
        break
    for evaluator in evaluators:
        evaluator._let_go()


def _leave_to_the_parent() -> None:
    """In a forked child: the evaluators are the parent's. None of them is used, recorded or ended from here."""
    for evaluator in list(_open_evaluators):
        evaluator._core.after_fork()
        evaluator._inbox = evaluator._core.inbox
        evaluator._hooks.forget()
        evaluator._foreign_jobs.forget()
        evaluator._recorder.forget()
        evaluator._backend.after_fork()
    _open_evaluators.clear()


at_fork(Order.CORE, _leave_to_the_parent)


@atexit.register
def _close_open_evaluators() -> None:
    """At interpreter exit: no evaluator leaves workers behind."""
    for evaluator in list(_open_evaluators):
        try:
            evaluator.close()
        except Exception:
            logger.exception("%r could not be closed at exit.", evaluator)
