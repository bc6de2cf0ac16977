"""The evaluators of `deephyper.evaluator`, over evalpool's.

::

    Evaluator                 attributes that programs set at any time, jobs, lists and pairs
      └─ Beneath              an evaluator of evalpool's, opened with the settings of the moment; anew after `close`
           ├─ Adapted         the run-function
           └─ Hearing         each callback

The one beneath takes its settings once, and is closed for good. So it is opened when it is needed, and opened again
where a setting has changed or the evaluator was closed, on the same search.
"""

from __future__ import annotations

import abc
import asyncio
import logging
import numbers
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import evalpool
from evalpool._clock import monotonic
from evalpool.compat.deephyper.evaluator import _in_workers as in_workers
from evalpool.compat.deephyper.evaluator._beneath import Beneath, Settings
from evalpool.compat.deephyper.evaluator._job import HPOJob, Job
from evalpool.compat.deephyper.evaluator._jobs import Jobs
from evalpool.compat.deephyper.evaluator._profile import is_profiled
from evalpool.compat.deephyper.evaluator.storage import MemoryStorage, SharedMemoryStorage
from evalpool.errors import BadArgument, MaximumJobsSpawnReached, UnknownMethod, UnknownSearch

__all__ = ["EVALUATORS", "Evaluator"]

logger = logging.getLogger("evalpool")

EVALUATORS: dict[str, type[Evaluator]] = {}
"""Method -> class."""
INTERVAL = 0.02
"""Seconds between two looks at what others do, where a search does nothing but wait for it."""
CREATED: dict[str, Any] = {}
"""Method -> another class that `Evaluator.create` makes."""


class UnsupportedGather(BadArgument, AssertionError):
    """`gather` was asked for neither ``"ALL"`` nor ``"BATCH"``; in deephyper that is an assertion."""


class Evaluator(abc.ABC):
    """Runs a run-function on configurations; the interface of deephyper's, on an evaluator of evalpool's.

    A class of your own implements `execute`, a coroutine; its jobs run on an event loop, `num_workers` at a time, in
    the thread that gathers.

    Args:
        run_function: ``f(job, **run_function_kwargs)``, sync or async, on every evaluator.
        num_workers: how many run at the same time.
        callbacks: objects with some of the hooks.
        run_function_kwargs: keyword arguments for every call.
        storage: of this package, or of `evalpool.storage`; None for one of the evaluator's own.
        search_id: an existing search of `storage`.

    Attributes:
        jobs: every job that was submitted.
        search: the search that uses the evaluator; jobs have it in their context.
    """

    FAIL_RETURN_VALUE = "F"
    PYTHON_EXE = sys.executable
    evalpool_class: ClassVar[str] = "SerialEvaluator"
    """The evaluator of evalpool's that runs the jobs."""
    default_storage: ClassVar[Callable[[], Any]] = MemoryStorage
    is_local: ClassVar[bool] = True
    """Do jobs run in this process?"""
    starts_early: ClassVar[bool] = False
    """Do the workers start when the evaluator is made? Else when the first jobs are submitted."""

    queue: Any = None
    queue_pop_per_task: int = 1

    def __init__(
        self,
        run_function: Callable[..., Any],
        num_workers: int | None = 1,
        callbacks: list[Any] | None = None,
        run_function_kwargs: dict[str, Any] | None = None,
        storage: Any = None,
        search_id: str | None = None,
    ) -> None:
        self.run_function = _function(run_function)
        self.run_function_kwargs = {} if run_function_kwargs is None else run_function_kwargs
        self._callbacks = [] if callbacks is None else callbacks
        if not isinstance(self._callbacks, (list, tuple)):
            raise BadArgument(f"callbacks is {callbacks!r} of type {type(callbacks).__name__}; give a list of them.")
        self._num_workers = num_workers
        self.search: Any = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.sem: asyncio.Semaphore | None = None
        self.timestamp = monotonic()
        self.num_objective: int | None = None
        self.maximum_num_jobs_submitted = -1
        self._num_jobs_offset = 0
        self._job_class: Any = Job
        self._stopper: Any = None
        self._timeout: float | None = None
        self._time_timeout_set: float | None = None
        self._own_storage: Any = None
        self._storage = self._checked(storage)
        self._search_id = self._begun(search_id)
        self._jobs = Jobs(self)
        self._jobs.is_profiled = lambda: is_profiled(self.run_function)
        self._left: list[Job] = []  # finished when the evaluator was closed, and not gathered
        self._beneath = Beneath(
            self._opened_class(), self._jobs, self._storage, self._search_id, self._engine_options()
        )
        self._open_first()

    # What the classes say.

    def _engine_options(self) -> dict[str, Any]:
        """Arguments of the evaluator beneath that are its own."""
        return {}

    def _open_first(self) -> None:
        """Open the one beneath now, so that wrong arguments are refused at once; most programs are searches."""
        if self.starts_early and not self._is_custom and not in_workers.arrived:
            # Without `install` there are no searches. Workers that expect another kind of jobs would start in vain.
            self._beneath.open_and_start(self._settings(is_hpo=in_workers.wanted))
        else:
            self._beneath.open(self._settings(is_hpo=True))

    def _opened_class(self) -> Any:
        return getattr(evalpool, "SerialEvaluator" if self._is_custom else self.evalpool_class)

    @property
    def _is_custom(self) -> bool:
        """Does a class of the program's own say how a job is executed?"""
        return type(self).execute not in BUILT_IN

    def _checked(self, storage: Any) -> Any:
        if storage is None:
            self._own_storage = type(self).default_storage().connect()
            return self._own_storage
        if not isinstance(storage, evalpool.storage.Storage):
            raise BadArgument(
                f"storage is {storage!r} of type {type(storage).__module__}.{type(storage).__name__}. Give one of "
                "evalpool.compat.deephyper.evaluator.storage, such as MemoryStorage(), or of evalpool.storage."
            )
        if isinstance(storage, MemoryStorage) and not self.is_local:
            storage.let_go_along()
        connect = getattr(storage, "connect", None)  # those of this package have it
        if connect is not None:
            connect()
        return storage

    def _begun(self, search_id: str | None) -> str:
        if search_id is None:
            return str(self._storage.create_new_search())
        if search_id not in self._storage.load_all_search_ids():
            raise UnknownSearch(f"search_id is {search_id!r}, and the storage {self._storage!r} has no such search.")
        return search_id

    def _settings(self, is_hpo: bool | None = None) -> Settings:
        if not (isinstance(self._job_class, type) and issubclass(self._job_class, Job)):
            raise BadArgument(
                f"_job_class is {self._job_class!r}, which is no Job of evalpool.compat.deephyper.evaluator. A search "
                "of deephyper's runs on this evaluator after evalpool.compat.deephyper.install()."
            )
        custom = None
        if self._is_custom:
            from evalpool.compat.deephyper.evaluator._execute import Executing

            custom = Executing(self)
        return Settings(
            run_function=_function(self.run_function),
            kwargs=dict(self.run_function_kwargs),
            num_workers=self._num_workers,
            callbacks=tuple(self._callbacks),
            stopper=self._stopper,
            is_hpo=issubclass(self._job_class, HPOJob) if is_hpo is None else is_hpo,
            queue=None if self.queue is None else (tuple(self.queue), self.queue_pop_per_task),
            custom=custom,
        )

    # Facts.

    @property
    def num_workers(self) -> int:
        """How many jobs run at the same time."""
        if self._num_workers in (None, -1):
            return int(self._beneath.ready(self._settings(), len(self.job_id_submitted)).num_workers)
        return int(self._num_workers or 1)

    @num_workers.setter
    def num_workers(self, num_workers: int) -> None:
        self._num_workers = num_workers

    @property
    def jobs(self) -> list[Job]:
        """Every job that was submitted, in that order."""
        return self._jobs.all

    @property
    def job_id_submitted(self) -> list[str]:
        """The ids of the jobs that are out."""
        return self._jobs.submitted

    @property
    def job_id_gathered(self) -> list[str]:
        """The ids of the jobs that came back, others' too."""
        return self._jobs.gathered

    @property
    def num_jobs_submitted(self) -> int:
        """Jobs of the search, others' too, since `set_maximum_num_jobs_submitted`. Of a given storage it counts all."""
        if self._own_storage is None and self._storage.keeps:
            return int(self._storage.count_jobs(self._search_id)) - self._num_jobs_offset
        return len(self.job_id_submitted) + self.num_jobs_gathered

    @property
    def num_jobs_gathered(self) -> int:
        """Jobs that came back, others' too, since `set_maximum_num_jobs_submitted`."""
        return len(self.job_id_gathered) - self._num_jobs_offset

    @property
    def is_master(self) -> bool:
        """Does this process search?"""
        return True

    def to_json(self) -> dict[str, Any]:
        """The class and the number of workers."""
        return {"type": type(self).__name__, "num_workers": self.num_workers}

    # Limits.

    @property
    def timeout(self) -> float | None:
        """The time budget in seconds; setting it starts it."""
        return self._timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        given: Any = value
        if given is not None and not (isinstance(given, numbers.Real) and given > 0):  # type: ignore[operator]
            raise BadArgument(f"timeout is {value!r}; give the seconds of the budget, more than 0, or None.")
        self._timeout, self._time_timeout_set = value, monotonic()
        self._beneath.set_budget(value)

    @property
    def time_left(self) -> float | None:
        """Seconds left of the time budget, below 0 when it is over; None without one."""
        if self._timeout is None or self._time_timeout_set is None:
            return None
        return self._timeout - (monotonic() - self._time_timeout_set)

    def set_maximum_num_jobs_submitted(self, maximum_num_jobs_submitted: int) -> None:
        """Cap the jobs that are out or will be submitted, from now on; below 1: no cap. Exact over all clients."""
        given: Any = maximum_num_jobs_submitted
        if not isinstance(given, numbers.Integral):
            raise BadArgument(f"maximum_num_jobs_submitted is {given!r}; give a whole number, below 1 for no cap.")
        self.maximum_num_jobs_submitted = maximum_num_jobs_submitted
        self._num_jobs_offset = len(self.job_id_gathered)
        cap = None
        if maximum_num_jobs_submitted > 0:
            taken = self._storage.reserve(self._search_id, 0)  # the next number, over all clients
            cap = taken + maximum_num_jobs_submitted - len(self.job_id_submitted)
        self._beneath.set_cap(cap)

    # Jobs.

    def submit(self, args_list: Iterable[dict[str, Any]]) -> list[Job]:
        """Submit configurations; evalpool begins with them at once, where there deephyper waits for `gather`.

        Raises:
            MaximumJobsSpawnReached: `set_maximum_num_jobs_submitted` allows no more; those that fit have been taken.
        """
        core = self._beneath.for_jobs(self._settings(), len(self.job_id_submitted))
        configurations = list(args_list)
        try:
            taken = core.submit(configurations)
        except MaximumJobsSpawnReached:  # it took none
            for configuration in configurations:
                self._launched(core.submit([configuration]))
            raise
        return self._launched(taken)

    def _launched(self, taken: list[evalpool.Job[Any]]) -> list[Job]:
        return [self._jobs.launched(job) for job in taken]

    def gather(self, type: str, size: int = 1) -> Any:
        """Wait for jobs: all that are out (``"ALL"``) or at least `size` (``"BATCH"``), for none with a size below 1.

        Returns:
            The jobs that are done; if other clients of the search have finished some, a pair: these, and the others'.

        Raises:
            UnsupportedGather: of another type.
        """
        if type not in ("ALL", "BATCH"):
            raise UnsupportedGather(f"type is {type!r}; give 'ALL' or 'BATCH'.")
        core = self._beneath.evaluator
        left, self._left = self._left, []
        local = left
        if core is not None:
            rest = size - len(left)
            if type == "ALL":
                local = left + self._jobs.taken(core.gather("ALL"))
            elif rest > 0:
                local = left + self._jobs.taken(core.gather("BATCH", rest))
        others = self.gather_other_jobs_done()
        if type == "ALL" and not local and not others and self._own_storage is None:
            time.sleep(INTERVAL)  # a search asks again and again until others' jobs have ended, too
        return (local, others) if others else local

    def gather_other_jobs_done(self) -> list[Job]:
        """What other clients of the search have finished since the last look."""
        core = self._beneath.evaluator
        return [] if core is None else self._jobs.taken_foreign(core.gather_other_jobs_done())

    def close(self) -> list[Job]:
        """End what runs and waits, and return it, CANCELLED. A later `submit` opens the evaluator again.

        The time budget ends with it: it belongs to the search that set it.
        """
        cancelled, finished = self._beneath.close()
        self._left += self._jobs.taken(finished)
        jobs = self._jobs.taken(cancelled)
        if isinstance(self._own_storage, SharedMemoryStorage):  # served again when it goes to workers again
            self._own_storage.close()
        self._timeout = self._time_timeout_set = None
        for callback in self._callbacks:
            self._tell_closed(callback)
        return jobs

    def _tell_closed(self, callback: Any) -> None:
        if isinstance(callback, evalpool.callbacks.Callback):
            return  # the one beneath has
        try:
            getattr(callback, "on_close", lambda: None)()
        except Exception:
            logger.exception("%s.on_close raised; the search goes on.", type(callback).__name__)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # For classes of a program's own.

    @abc.abstractmethod
    async def execute(self, job: Any) -> Any:
        """Evaluate a job and return it, with its output set."""

    def _create_job(self, job_id: str, args: dict[str, Any], run_function: Any, storage: Any) -> Any:
        return self._job_class(job_id, args, run_function, storage)

    def _update_job_when_done(self, job: Any, output: Any) -> Any:
        """Set a job's output, unless a job was returned."""
        if isinstance(output, Job):
            return output
        job.set_output(output)
        return job

    @staticmethod
    def create(
        run_function: Callable[..., Any], method: str = "serial", method_kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Make an evaluator by its method's name.

        Raises:
            UnknownMethod: lists the known ones.
        """
        cls = EVALUATORS.get(method)
        if cls is None:
            raise UnknownMethod(f"method is {method!r}; give one of {', '.join(EVALUATORS)}.")
        return CREATED.get(method, cls)(run_function, **(method_kwargs or {}))


def _function(run_function: Any) -> Callable[..., Any]:
    """The run-function. Raises `BadArgument` if it is none."""
    if not callable(run_function):
        raise BadArgument(f"run_function is {run_function!r} of type {type(run_function).__name__}; give a function.")
    found: Callable[..., Any] = run_function
    return found


BUILT_IN: set[Any] = {Evaluator.execute}
"""The methods `execute` of this package; another one is of a class of a program's own."""
