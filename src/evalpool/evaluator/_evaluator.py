"""`Evaluator`, the public class: it checks arguments and passes submit, gather, cancel and close to its parts.

::

    submit ─► Submissions ─► Core: JobLedger, Scheduler ─► Backend
    gather ◄─ Waiting, Gathering: Recorder, HookQueue, ForeignJobs ◄─ Core ◄─ Port
    cancel, timeout, close ─► StopControl, or a Timeline where time is simulated

The path of a job, and which part does what, is drawn in docs/architecture.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from evalpool._checks import check_choice, check_number, check_real, check_seconds, check_wait
from evalpool._interrupts import defer_signals, from_a_handler, install, uninstall
from evalpool._log import get_logger
from evalpool.errors import BadArgument, EvalpoolError
from evalpool.evaluator import _settings
from evalpool.evaluator._backend import Backend, disposed_if_it_fails, refuse_hidden_methods
from evalpool.evaluator._closing import close_engine, leave_storage
from evalpool.evaluator._creation import Creation
from evalpool.evaluator._iteration import iterate
from evalpool.evaluator._open_evaluators import open_evaluators
from evalpool.evaluator._open_search import OpenSearch
from evalpool.evaluator._parts import assemble
from evalpool.evaluator._port import Port, Refusal
from evalpool.evaluator._scheduler import Resources
from evalpool.evaluator._search_view import SearchView
from evalpool.evaluator._stop_control import GRACE
from evalpool.evaluator._timeline import Timeline
from evalpool.evaluator._waiting import size_of
from evalpool.jobs._job import Job
from evalpool.jobs._options import Submission
from evalpool.jobs._seeds import fresh_seed
from evalpool.worker._call import Task, release

if TYPE_CHECKING:
    from typing_extensions import Never, Self

    from evalpool.batch._deadline import Deadline
    from evalpool.callbacks import Callback
    from evalpool.evaluator._membership import Membership
    from evalpool.evaluator._stop_control import StopControl
    from evalpool.storage import Storage

__all__ = ["Evaluator"]

logger = get_logger()

OLD_HOOKS = frozenset(
    {"_acquire", "_ask_to_stop", "_await", "_dispatch", "_dispatch_all", "_interrupt", "_release", "_start"}
    | {"_stop", "_wait"}
)
"""A subclass that defines one of these is a backend of the old form; see `_old_backends`."""


class Evaluator(Creation, SearchView):
    """Runs a run-function on configurations and returns the results as they complete.

    Use the class of a backend, or `Evaluator.create`. Every public method may be called from any thread. A subclass
    names its engine, an `evalpool.backends.Backend`, as `backend_class`, and passes the engine's own arguments on.

    Args:
        run_function: ``f(job, **run_function_kwargs)``, sync or async; `job` is a `RunningJob`.
        num_workers: how many jobs run at the same time; -1 for one per usable CPU.
        callbacks: watchers, called in the caller's thread.
        run_function_kwargs: keyword arguments for every call, sent once per worker.
        storage: where records are kept, or its URL (``"sqlite:///results.db"``); None keeps them in memory.
        search_id: an existing search of `storage` to continue; ``"latest"`` for its last one.
        job_timeout: seconds that one job may run; then it ends as ``F_timeout``. A `Submission` may set another limit.
        retries: how often a job is run again if its worker died or it raised; a `Retries` sets a number for each.
        on_error: ``"record"`` keeps a failure as that job's outcome; ``"raise"`` makes `gather` raise `JobError`.
        seed: of the search; the seed of each job derives from it and the job's number.
        job_type: ``"hpo"``: the run-function returns an objective; ``"task"``: it returns any value.
        stopper: decides from the intermediate results that jobs `record` which of them end early.
        grace: seconds that a job which was asked to stop has to end by itself, with a value or a checkpoint. Then it is
            stopped by force, or given up if the engine cannot do that. `close` waits a quarter of a second.

    Raises:
        BadArgument: an argument has a wrong type or value.
        UnknownSearch: `search_id` is not in `storage`.
        NotShareable: the workers could not reach `storage`.
    """

    backend_class: ClassVar[type[Backend] | None] = None

    # Set by the subclasses that the decorators make.
    _resources: Resources | None = None  # what is lent to jobs while they run (`queued`)
    _timeline: Timeline | None = None  # simulated time (`simulated`)
    _membership: Membership | None = None  # who else works on this search (`distributed`)

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
        grace: float = GRACE,
        **own: Never,
    ) -> None:
        self._run_function = _settings.check_run_function(run_function)
        self._callbacks = _settings.check_callbacks(callbacks)
        self._run_function_kwargs = _settings.check_kwargs(run_function_kwargs)
        self._job_timeout = check_seconds("job_timeout", job_timeout)
        allowed = _settings.check_retries(retries)
        raises = check_choice("on_error", on_error, ("record", "raise")) == "raise"
        job_type = check_choice("job_type", job_type, ("hpo", "task"))
        self._stopper = _settings.check_stopper(stopper)
        grace = check_real("grace", grace, least=0)
        known_seed = fresh_seed() if seed is None else check_number("seed", seed, 0)
        self._backend = backend = self._make_backend(own)
        with disposed_if_it_fails(backend):
            wanted = -1 if backend.counts_workers and num_workers == -1 else _settings.check_workers(num_workers)
            count = backend.open(wanted)
            self._serves = count == 0
            self._num_workers = max(count, 1)
            if self._serves:  # records and callbacks are those of the process that searches
                storage = search_id = None
                self._callbacks = []
            self._search = OpenSearch(
                storage, search_id, job_type=job_type, seed=known_seed, seed_given=seed is not None,
                check=self._check_reach, user=self,
            )  # fmt: skip
        parts = assemble(
            self, self._search, backend, num_workers=self._num_workers, callbacks=self._callbacks,
            job_timeout=self._job_timeout, retries=allowed, stopper=self._stopper, raises=raises, grace=grace,
            resources=self._lent_resources(), timeline=self._timeline, membership=self._membership,
            start=self._start_up, expect_deadlines=self._expect_deadlines,
        )  # fmt: skip
        self._core, self._stops, self._timers = parts.core, parts.core.stops, parts.timers
        self._ends: StopControl | Timeline = self._stops if self._timeline is None else self._timeline
        self._hooks, self._recorder, self._fence, self._times = parts.hooks, parts.recorder, parts.fence, parts.times
        self._attempts, self._foreign_jobs, self._gathering = parts.attempts, parts.foreign_jobs, parts.gathering
        self._submissions, self._waiting, self._resumption = parts.submissions, parts.waiting, parts.resumption
        self._submit, self._gather = parts.submissions.submit, parts.waiting.gather
        self._start_lock = threading.Lock()
        with disposed_if_it_fails(backend):
            for callback in self._hooks.on_open:
                callback.on_open()
        self._handles_signals = False  # whether our handlers of signals are installed for this evaluator
        self._port = Port(
            self._core, self._search, self._make_task(), self._attempts, name=type(self).__name__,
            num_workers=self._num_workers, job_timeout=self._job_timeout, decides=self._stopper is not None,
            needed=backend.sharing, storage=lambda: self.storage, after=self._timers.after,
            workers_changed=self._set_workers,
        )  # fmt: skip
        open_evaluators.add(self)
        if self._serves:
            try:
                backend.serve()
            finally:
                self.close()

    # The engine.

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_is_old_form" not in vars(cls) and not OLD_HOOKS.isdisjoint(vars(cls)):
            from evalpool.evaluator._old_backends import adapt

            adapt(cls)

    def _make_backend(self, own: dict[str, Any]) -> Backend:
        cls = type(self)
        if cls.backend_class is None:
            raise BadArgument(
                f"{cls.__name__} has no engine. Use Evaluator.create(run, method='thread'), or another method; in a "
                "class of your own, set backend_class to its engine."
            )
        if own:
            _settings.check_keywords(cls, own)
        backend = cls.backend_class(**own)
        refuse_hidden_methods(backend, Backend)
        return backend

    def _lent_resources(self) -> Resources | None:
        """Return the resources that are lent to jobs, if any."""
        return self._resources

    def _check_reach(self, storage: Storage) -> None:
        if self._membership is not None and storage is self._membership.storage:
            return
        if not self._backend.reaches(storage):
            raise _settings.unreachable(storage, type(self).__name__, self._backend.sharing())

    def _start_up(self) -> None:
        with defer_signals(), self._start_lock:  # an interrupt would leave an engine that nobody would stop
            if not self._core.started:
                self._handles_signals = self._handles_signals or install()
                self._start_backend()
                self._core.started = True

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
        """Return what each worker gets once."""
        search = self._search
        return Task(self._run_function, self._run_function_kwargs, search.search_id, search.job_type, search.seed)

    def _set_workers(self, count: int) -> None:
        self._num_workers = count

    def _expect_deadlines(self) -> None:
        """Prepare for a job with its own time limit, which is about to be queued."""
        self._core.has_deadlines = self._port.has_deadlines = True
        self._port.watches_starts = self._attempts.watches_starts()

    # Jobs come and go.

    def submit(self, configurations: Iterable[dict[str, Any] | Submission]) -> list[Job[Any]]:
        """Submit configurations for evaluation; work starts at once. Returns at once.

        Args:
            configurations: dicts with text keys, which are copied; or `Submission` objects, dicts with options. An
                empty list starts the workers, so that they import before the first job.

        Raises:
            BadArgument: one of them is neither such a dict nor a `Submission`; none has been submitted.
            EvaluatorClosed: after `close`.
            KeyboardInterrupt: either all have been submitted, and `gather` returns them, or none has.
            MaximumJobsSpawnReached: more than `set_maximum_num_jobs_submitted` allows; none has been submitted.
            NotJSON: the storage cannot keep a value, whose place the message says; none has been submitted.
            StorageUnavailable: the storage cannot record them; none has been submitted.
        """
        return self._submit(configurations, self._core.inbox)

    def set_maximum_num_jobs_submitted(self, maximum: int | None) -> None:
        """Limit the number of jobs of this search, exactly, over all clients that set a limit; None removes it."""
        cap = None if maximum is None or maximum == -1 else check_number("maximum", maximum, 0)
        self._submissions.numbers.cap = cap

    def as_completed(
        self, configurations: Iterable[dict[str, Any] | Submission], max_pending: int | None = None
    ) -> Iterator[Job[Any]]:
        """Evaluate configurations and yield each job when it is done.

        `configurations` may be endless: only `max_pending` jobs (default: twice the workers) are pending at a time.
        `gather` returns the jobs of `submit`, and not these. Closing the iterator cancels its pending jobs.
        """
        limit = check_number("max_pending", 2 * self.num_workers if max_pending is None else max_pending, 1)
        return iterate(
            iter(configurations), limit, core=self._core, submit=self._submit, gather=self._gather, cancel=self.cancel
        )

    def gather(self, type: str = "ALL", size: int = 1, timeout: float | None = None) -> list[Job[Any]]:
        """Wait for jobs and return all that are done, each exactly once, in the order of completion.

        Args:
            type: ``"ALL"`` waits for all outstanding jobs; ``"BATCH"`` for at least `size` jobs.
            size: if it exceeds the number of outstanding jobs, it is reduced to that, with a warning.
            timeout: seconds to wait at most; then the jobs that are done are returned, possibly none.

        Raises:
            BadArgument: another `type`, or a `size` below 1.
            JobError: a job failed under ``on_error="raise"``; its attribute `jobs` has all gathered jobs.
        """
        inbox = self._core.inbox
        if type == "BATCH" and size == 1 and timeout is None:  # the step of a search loop: nothing to check
            return self._gather(inbox, 1, None)
        return self._gather(inbox, size_of(type, size, inbox.outstanding), check_wait("timeout", timeout))

    async def agather(self, type: str = "ALL", size: int = 1, timeout: float | None = None) -> list[Job[Any]]:
        """As `gather`, inside a running event loop, which is not blocked."""
        inbox = self._core.inbox
        size = size_of(type, size, inbox.outstanding)
        return await self._waiting.agather(inbox, size, check_wait("timeout", timeout))

    def gather_other_jobs_done(self) -> list[Job[Any]]:
        """Return the jobs that other clients of this search finished since the last call, each job once."""
        self._foreign_jobs.look(at_once=True)
        with defer_signals():
            news = self._foreign_jobs.take_news()
            if news:
                self._hooks.add("on_gather", [], news)
        self._hooks.deliver()
        return self._foreign_jobs.take()

    def resume(self, max_lost: int | None = 3) -> int:
        """Continue an existing search: return the jobs that had finished, and run the lost ones again.

        The next `gather` returns the jobs that had finished, once, with ``restored`` in their metadata. Jobs that
        waited or ran are queued again if their owner has ended; an owner that is still alive keeps its jobs. Ids,
        seeds and timestamps continue. The cost grows with the number of jobs in the search.

        Args:
            max_lost: a job during which `max_lost` evaluators ended is given up as ``F_worker_died``, because it may
                have ended them. Before that it gets a last attempt, during which no other job runs. Suspended jobs are
                not lost. None: no limit, as where workers are processes, so that no job can end the evaluator.

        Returns:
            How many jobs were queued again; 0 on a search that this evaluator began.

        Raises:
            BadArgument: `max_lost` is neither None nor a whole number of at least 1.
        """
        if max_lost is not None:
            max_lost = check_number("max_lost", max_lost, 1)
        return self._resumption.resume(max_lost)

    # Stopping.

    def cancel(self, jobs: Iterable[Job[Any]] | Job[Any]) -> int:
        """Cancel jobs; `gather` returns them as CANCELLED. Returns how many had no outcome yet.

        A waiting job is cancelled at once. A running one is asked to stop (`RunningJob.stopped` turns True). If it
        still runs after the `grace`, a quarter of a second by default, it is stopped by force, where the engine can.
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
        """The time budget in seconds. Setting it starts it; None removes it. When it is spent, all jobs end CANCELLED.

        A `Deadline` sets it to the seconds that are left until then. Jobs that have not ended by then are left to be
        resumed, as by `suspend`.
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
        """Seconds left of `timeout`, 0.0 when it is spent; None without a time budget."""
        return self._ends.time_left()

    def suspend(self) -> list[Job[Any]]:
        """As `close`, but leave the unfinished jobs to be resumed; returns them.

        Running jobs are stopped as by `close`. Neither their end nor that of waiting jobs is recorded, and the lease is
        given up, so any program can `resume` them at once. Here they are CANCELLED, of the kind SUSPENDED, and no
        callback hears of them. With a storage that ends with the program, and in simulated time, it is `close`.
        """
        self._suspend_on_close()
        return self.close()

    def _suspend_on_close(self) -> None:
        """From now on leave unfinished jobs to be resumed; may be called in a signal handler."""
        self._backend.told_to_end()
        self._stops.suspend()

    def close(self) -> list[Job[Any]]:
        """Stop everything and release the workers; returns the unfinished jobs, CANCELLED.

        Jobs that had finished and were not gathered are recorded, and a later `gather` still returns them. Running jobs
        have a quarter of a second to notice the request, then they are stopped by force. A second call does nothing.
        """
        core = self._core
        held_back = self._timeline.close() if self._timeline is not None else []
        with self._start_lock:
            if core.closed:
                return []
            core.closed = True
        open_evaluators.discard(self)
        try:
            return self._close(held_back)
        finally:
            self._backend.dispose()

    def _close(self, held_back: list[Job[Any]]) -> list[Job[Any]]:
        parts = self._recorder, self._fence, self._membership
        try:
            return close_engine(
                self._core, self._backend, held_back, timers=self._timers, conclude=self._gathering.conclude,
                then=(
                    partial(self._hooks.call, "on_close"),
                    partial(leave_storage, self._search, *parts),
                    partial(release, self._run_function),
                ),
            )  # fmt: skip
        finally:
            if self._handles_signals:
                self._handles_signals = False
                uninstall()

    def _after_fork(self) -> None:
        """In a forked child: this evaluator is the parent's. The child uses, records and ends nothing of it."""
        self._core.after_fork()
        self._hooks.forget()
        self._foreign_jobs.forget()
        self._recorder.forget()
        self._backend.after_fork()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
