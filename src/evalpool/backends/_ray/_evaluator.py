"""The evaluator on a Ray cluster: its arguments and hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from evalpool._checks import check_real, is_whole
from evalpool._log import get_logger
from evalpool._ray_session import Session
from evalpool.backends._pool._ends import EXIT_TIMEOUT
from evalpool.backends._pool._evaluator import PoolEvaluator
from evalpool.backends._pool._pool import Pool
from evalpool.backends._ray._actor import worker_class
from evalpool.backends._ray._launcher import ActorLauncher
from evalpool.backends._ray._reach import host_identity
from evalpool.backends._ray._resources import Needs
from evalpool.backends._ray._store import Shelf
from evalpool.backends._ray._transport import ActorTransport
from evalpool.errors import BadArgument
from evalpool.evaluator import _settings
from evalpool.evaluator._parcel import pack
from evalpool.jobs._job import Job

if TYPE_CHECKING:
    from evalpool.storage import Sharing

__all__ = ["RayEvaluator"]

logger = get_logger()

LOOPBACK = "127.0.0.1"


class RayEvaluator(PoolEvaluator):
    """Runs run-functions in actors of a Ray cluster, of this machine or another.

    Each worker is an actor with its own resources. A worker or node that dies costs the job that ran there, as
    ``F_worker_died`` with the reason that Ray gives; a job over its timeout is killed with its children. Nothing is
    retried but by `retries`. Arrays in `run_function_kwargs`, and large ones in configurations, go through Ray's object
    store: workers of a host share them, read-only. Workers connect back to this host.

    An evaluator that finds Ray running in this process uses it and leaves it running. Otherwise it connects, or
    starts Ray, and stops it when the last evaluator is closed.

    Args:
        run_function: as for every evaluator.
        num_workers: None or -1 for as many as the cluster's nodes hold, following nodes that join and leave (looked
            for every two seconds). A number may be above that: the others start when there is room, or when the
            cluster has started nodes for them.
        address: of a cluster, as ``"host:6379"``; ``"auto"`` for one that runs on this host; None for the one that this
            process uses, else the one that RAY_ADDRESS names, else a new one on this host.
        num_cpus, num_gpus: that a new cluster on this machine shall offer; None for what there is.
        num_cpus_per_task, num_gpus_per_task: that each worker, and so each job, has to itself; fractions below 1.
        resources_per_task: the same for custom resources, by name.
        memory_per_task: bytes that Ray sets aside for each worker. Ray starts no more workers than fit; it ends none
            that takes more, for which there is `profile`.
        ray_kwargs: for `ray.init`, as ``runtime_env``.
        exit_timeout: seconds that workers may take to end when the evaluator is closed, as on the process backend.
        **kwargs: as for every evaluator.

    Raises:
        BackendError: no cluster at `address`.
        BadArgument: resources that no node of the cluster can ever offer, or a `runtime_env` that Ray refuses; Ray runs
            in this process with other settings.
        MissingExtra: Ray is not installed.
    """

    _workers_are: ClassVar[str] = "cluster"
    _jobs_are_isolated = True

    def __init__(
        self,
        run_function: Any,
        *,
        num_workers: int | None = None,
        address: str | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        num_cpus_per_task: float = 1,
        num_gpus_per_task: float = 0,
        resources_per_task: dict[str, float] | None = None,
        memory_per_task: float | None = None,
        ray_kwargs: dict[str, Any] | None = None,
        exit_timeout: float = EXIT_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        _settings.check_run_function(run_function)
        self._exit_timeout = check_real("exit_timeout", exit_timeout, least=0)
        self._follows = num_workers is None or (is_whole(num_workers) and num_workers == -1)
        wanted = None if self._follows else _settings.check_workers(num_workers)
        self._needs = Needs(num_cpus_per_task, num_gpus_per_task, resources_per_task, memory_per_task)
        if ray_kwargs is not None and not isinstance(ray_kwargs, dict):
            raise BadArgument(f"ray_kwargs is {ray_kwargs!r}; give a dict of arguments for ray.init.")
        if address is not None and not isinstance(address, str):
            raise BadArgument(f'address is {address!r}; give text as "auto" or "host:6379", or None.')
        self._session = Session(type(self).__name__, address, num_cpus, num_gpus, ray_kwargs)
        try:
            self._ray = self._session.ray
            nodes = self._ray.nodes()
            count = self._needs.check(nodes, wanted, grows=not self._session.is_local)
            here = self._ray.util.get_node_ip_address()
            self._one_host = all(node["NodeManagerAddress"] == here for node in nodes if node["Alive"])
            self._actor_class = self._make_actor_class((ray_kwargs or {}).get("runtime_env"))
            super().__init__(run_function, num_workers=count, **kwargs)
        except BaseException:
            self._session.leave()
            raise
        capacity = self._needs.capacity(nodes)
        if self._needs.amounts and count > capacity:
            logger.warning(
                "num_workers is %d, and the Ray cluster holds %d of them now; the others start when nodes join.",
                count,
                capacity,
            )

    def _make_actor_class(self, runtime_env: Any) -> Any:
        options = {**self._needs.options(), "max_restarts": 0, "max_task_retries": 0}
        if runtime_env and not self._session.initialized:  # else all workers of this process have it
            options["runtime_env"] = runtime_env
        try:
            return self._ray.remote(worker_class()).options(**options)
        except (ValueError, TypeError) as error:
            raise BadArgument(
                f"Ray refuses workers with {options}: {error} Ray runs in this process already; what it takes only "
                "when it starts, give to the evaluator that starts it, or to ray.init."
            ) from error

    def _needed_sharing(self) -> Sharing:
        from evalpool.storage import Sharing

        return Sharing.PROCESSES if self._one_host else Sharing.CLUSTER

    def _start(self) -> None:
        import numpy as np

        from evalpool.storage import Sharing

        buffers: list[Any] = []
        parcel = pack(self, lambda buffer: buffers.append(np.frombuffer(buffer.raw(), np.uint8)))
        if parcel.error:
            self._refuse_all(parcel.error)
            return
        if self._follows and self._needs.amounts:  # nodes may have come or gone since construction
            self._num_workers = max(1, self._needs.capacity(self._ray.nodes()))
        setup = {
            "origin": parcel.origin,
            "task": parcel.task,
            "buffers": buffers,
            "storage": parcel.storage,
            "advice": parcel.advice,
            "decides": self._stopper is not None,
            "lends": True,
            # Nodes of other hosts may join later.
            "storage_host": host_identity() if self._storage.shared < Sharing.CLUSTER else None,
            "advice_elsewhere": str(_settings.unreachable(self._storage, type(self).__name__, Sharing.CLUSTER)),
        }
        launcher = ActorLauncher(
            self._ray,
            self._ray.put(setup),
            self._needs,
            LOOPBACK if self._session.is_local else self._ray.util.get_node_ip_address(),
            self._actor_class,
            self._follows and bool(self._needs.amounts),
            self._exit_timeout,
        )
        self._pool = Pool(self._port, launcher, ActorTransport(Shelf(self._ray)), "evalpool-ray-io")

    def close(self) -> list[Job[Any]]:
        try:
            return super().close()
        finally:
            self._session.leave()
