"""deephyper's evaluators by their names, each on one of evalpool's."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable
from typing import Any, ClassVar

import evalpool
from evalpool.compat.deephyper.evaluator._beneath import Staying
from evalpool.compat.deephyper.evaluator._evaluator import BUILT_IN, CREATED, EVALUATORS, Evaluator
from evalpool.compat.deephyper.evaluator._running_job import adapted
from evalpool.compat.deephyper.evaluator.storage import MPIWinStorage, RayStorage, SharedMemoryStorage
from evalpool.errors import BadArgument, MissingExtra

__all__ = [
    "LokyEvaluator",
    "MPICommEvaluator",
    "ProcessPoolEvaluator",
    "RayEvaluator",
    "SerialEvaluator",
    "ThreadPoolEvaluator",
]


class Engine(Evaluator):
    """An evaluator whose jobs are executed by the one beneath."""

    async def execute(self, job: Any) -> Any:
        """Evaluate a job beside: for classes of a program's own that do something before or after."""
        engine = getattr(evalpool, self.evalpool_class)
        run = adapted(job.run_function)
        one: Any = engine(run, job_type="task", run_function_kwargs=dict(self.run_function_kwargs))

        def evaluated() -> Any:
            with one:
                return next(one.as_completed([job.args])).output

        return self._update_job_when_done(job, await asyncio.to_thread(evaluated))


BUILT_IN.add(Engine.execute)


class SerialEvaluator(Engine):
    """In the thread that gathers, where coroutines of `num_workers` jobs interleave.

    Raises:
        BadArgument: `run_function` is no coroutine function, as there. `Evaluator.create`, for which this is the
            default, takes any.
    """

    _takes_any = False

    def __init__(self, run_function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        if not self._takes_any and not inspect.iscoroutinefunction(run_function):
            raise BadArgument(
                f"run_function is {run_function!r}, and {type(self).__name__} takes coroutine functions, `async def`. "
                "Use ThreadPoolEvaluator, or Evaluator.create(run_function, method='serial'), which takes any."
            )
        super().__init__(run_function, *args, **kwargs)


class ThreadPoolEvaluator(Engine):
    """On threads."""

    evalpool_class = "ThreadPoolEvaluator"


class ProcessPoolEvaluator(Engine):
    """In processes, which start when it is made. The run-function travels by value, so it need not be importable."""

    evalpool_class = "ProcessPoolEvaluator"
    default_storage = SharedMemoryStorage
    is_local = False
    starts_early = True


class LokyEvaluator(ProcessPoolEvaluator):
    """As `ProcessPoolEvaluator`, which does what loky is taken for there; loky itself is not used."""


class RayEvaluator(Engine):
    """On a Ray cluster: the one that this process uses, the one at `address`, or as `ray.init` finds or makes one.

    With `num_cpus` or `num_gpus`, and no address, it is a new one. The cluster is left running.

    Args:
        password: of the cluster, for `ray.init`.
        include_dashboard: of a new cluster.
        ray_kwargs: more arguments of `ray.init`.
        num_workers: None or -1 for as many as its CPUs hold.
    """

    evalpool_class = "RayEvaluator"
    default_storage = RayStorage
    is_local = False

    def __init__(
        self,
        run_function: Callable[..., Any],
        callbacks: list[Any] | None = None,
        run_function_kwargs: dict[str, Any] | None = None,
        storage: Any = None,
        search_id: str | None = None,
        address: str | None = None,
        password: str | None = None,
        num_cpus: int | None = None,
        num_gpus: int | None = None,
        include_dashboard: bool | None = False,
        num_cpus_per_task: float = 1,
        num_gpus_per_task: float = 0,
        ray_kwargs: dict[str, Any] | None = None,
        num_workers: int | None = None,
    ) -> None:
        ray = _ray()
        given = {
            "address": address,
            "_redis_password": password,
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "include_dashboard": include_dashboard,
        }
        if not ray.is_initialized():
            settings = {**(ray_kwargs or {}), **{key: value for key, value in given.items() if value is not None}}
            if num_cpus is not None or num_gpus is not None:  # not of a cluster that somebody else has on this host
                settings.setdefault("address", os.environ.get("RAY_ADDRESS") or "local")
            ray.init(**settings)
        offered = ray.cluster_resources()
        self.num_cpus = int(offered.get("CPU", 0)) if num_cpus is None else num_cpus
        self.num_gpus = int(offered.get("GPU", 0)) if num_gpus is None else num_gpus
        self.num_cpus_per_task, self.num_gpus_per_task = num_cpus_per_task, num_gpus_per_task
        if num_workers is None or num_workers == -1:
            num_workers = max(1, int(self.num_cpus // num_cpus_per_task))
        super().__init__(run_function, num_workers, callbacks, run_function_kwargs, storage, search_id)

    def _engine_options(self) -> dict[str, Any]:
        return {"num_cpus_per_task": self.num_cpus_per_task, "num_gpus_per_task": self.num_gpus_per_task}


class MPICommEvaluator(Engine):
    """On the ranks of an MPI communicator, all but the root's; used with ``with``, by all ranks.

    The other ranks serve inside ``with``, until the root leaves it. So the one beneath stays open over `close`.

    Args:
        num_workers: taken and not used, as in deephyper: all ranks but the root work.
        comm: of mpi4py; None for all ranks.
        root: the rank that searches.
    """

    evalpool_class = "MPICommEvaluator"
    default_storage: ClassVar[Callable[[], Any]] = MPIWinStorage

    def __init__(
        self,
        run_function: Callable[..., Any],
        num_workers: int | None = None,
        callbacks: list[Any] | None = None,
        run_function_kwargs: dict[str, Any] | None = None,
        storage: Any = None,
        search_id: str | None = None,
        comm: Any = None,
        root: int = 0,
    ) -> None:
        self._given, self.comm, self.root = comm, _communicator(comm), root
        if storage is None:
            storage = MPIWinStorage(comm, root=root)
        super().__init__(run_function, self.comm.Get_size() - 1, callbacks, run_function_kwargs, storage, search_id)
        self._beneath = Staying(
            self._opened_class(), self._jobs, self._storage, self._search_id, self._engine_options()
        )

    def _begun(self, search_id: str | None) -> str:
        return super()._begun(search_id) if self.is_master else str(search_id)

    def _engine_options(self) -> dict[str, Any]:
        return {"comm": self._given, "root": self.root}

    def _open_first(self) -> None:
        """Not before ``with``, which all ranks enter."""

    @property
    def is_master(self) -> bool:
        """Is this the rank that searches?"""
        return bool(self.comm.Get_rank() == self.root)

    def __enter__(self) -> Any:
        if not self.is_master:
            evalpool.MPICommEvaluator(self.run_function, **self._engine_options())  # serves until the root has left
        return self

    def __exit__(self, *exception: object) -> None:
        if self.is_master:
            self._beneath.ready(self._settings(), 0)  # the ranks wait for one
            self.close()
            self._beneath.end()


def _communicator(comm: Any) -> Any:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # mpi4py, or a library of MPI
        raise MissingExtra.of("MPICommEvaluator needs mpi4py and a library of MPI", "mpi") from error
    if not MPI.Is_initialized():  # deephyper tells mpi4py to leave it out
        MPI.Init_thread()
    return MPI.COMM_WORLD if comm is None else comm


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtra.of("RayEvaluator needs Ray", "ray") from error
    return ray


class _Serial(SerialEvaluator):
    """What `Evaluator.create` makes."""

    _takes_any = True


_Serial.__name__ = "SerialEvaluator"
CREATED["serial"] = _Serial

EVALUATORS.update(
    mpicomm=MPICommEvaluator,
    process=ProcessPoolEvaluator,
    ray=RayEvaluator,
    serial=SerialEvaluator,
    thread=ThreadPoolEvaluator,
    loky=LokyEvaluator,
)
