"""The engine on Ray: a session of Ray, and a pool whose launcher starts actors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from evalpool._checks import check_real
from evalpool._log import get_logger
from evalpool._ray_session import RayHold
from evalpool.backends._pool._backend import PoolBackend
from evalpool.backends._pool._pool import Pool
from evalpool.backends._ray._actor import worker_class
from evalpool.backends._ray._launcher import ActorLauncher
from evalpool.backends._ray._reach import host_identity
from evalpool.backends._ray._resources import Needs
from evalpool.backends._ray._store import Shelf
from evalpool.backends._ray._transport import ActorTransport
from evalpool.errors import BadArgument
from evalpool.evaluator import _settings
from evalpool.evaluator._port import Port

if TYPE_CHECKING:
    from evalpool.storage import Sharing

__all__ = ["ActorBackend"]

logger = get_logger()

LOOPBACK = "127.0.0.1"


class ActorBackend(PoolBackend):
    """Actors of a Ray cluster. The arguments are those of `RayEvaluator`."""

    workers_are = "cluster"
    counts_workers: ClassVar[bool] = True

    def __init__(
        self,
        address: str | None,
        num_cpus: float | None,
        num_gpus: float | None,
        num_cpus_per_task: float,
        num_gpus_per_task: float,
        resources_per_task: dict[str, float] | None,
        memory_per_task: float | None,
        ray_kwargs: dict[str, Any] | None,
        exit_timeout: float,
    ) -> None:
        self._exit_timeout = check_real("exit_timeout", exit_timeout, least=0)
        self._needs = Needs(num_cpus_per_task, num_gpus_per_task, resources_per_task, memory_per_task)
        if ray_kwargs is not None and not isinstance(ray_kwargs, dict):
            raise BadArgument(f"ray_kwargs is {ray_kwargs!r}; give a dict of arguments for ray.init.")
        if address is not None and not isinstance(address, str):
            raise BadArgument(f'address is {address!r}; give a text such as "auto" or "host:6379", or None.')
        self._arguments = address, num_cpus, num_gpus, ray_kwargs
        self._session: RayHold | None = None

    def open(self, wanted: int) -> int:
        address, num_cpus, num_gpus, ray_kwargs = self._arguments
        self._session = session = RayHold("RayEvaluator", address, num_cpus, num_gpus, ray_kwargs)
        self._ray = session.ray
        self._follows = wanted == -1
        nodes = self._ray.nodes()
        count = self._needs.check(nodes, None if self._follows else wanted, grows=not session.is_local)
        here = self._ray.util.get_node_ip_address()
        self._one_host = all(node["NodeManagerAddress"] == here for node in nodes if node["Alive"])
        self._host = LOOPBACK if session.is_local else here
        self._actor_class = self._make_actor_class(session, (ray_kwargs or {}).get("runtime_env"))
        capacity = self._needs.capacity(nodes)
        if self._needs.amounts and count > capacity:
            logger.warning(
                "num_workers is %d, but the Ray cluster has room for %d now; the others start when nodes join.",
                count,
                capacity,
            )
        return count

    def _make_actor_class(self, session: RayHold, runtime_env: Any) -> Any:
        options = {**self._needs.options(), "max_restarts": 0, "max_task_retries": 0}
        if runtime_env and not session.initialized:  # else all workers of this process have it
            options["runtime_env"] = runtime_env
        try:
            return self._ray.remote(worker_class()).options(**options)
        except (ValueError, TypeError) as error:
            raise BadArgument(
                f"Ray refuses workers with {options}: {error} Ray runs in this process already. Give arguments that "
                "it accepts only at its start to the evaluator that starts it, or to ray.init."
            ) from error

    def sharing(self) -> Sharing:
        from evalpool.storage import Sharing

        return Sharing.PROCESSES if self._one_host else Sharing.CLUSTER

    def make_pool(self, port: Port) -> Pool:
        import numpy as np

        from evalpool.storage import Sharing

        buffers: list[Any] = []
        packed = port.setup(lambda buffer: buffers.append(np.frombuffer(buffer.raw(), np.uint8)))
        follows = self._follows and bool(self._needs.amounts)
        if follows:  # nodes may have come or gone since construction
            port.set_workers(max(1, self._needs.capacity(self._ray.nodes())))
        setup = {
            "origin": packed.origin,
            "task": packed.task,
            "buffers": buffers,
            "storage": packed.storage,
            "advice": packed.advice,
            "decides": port.decides,
            "lends": True,
            # Nodes of other hosts may join later.
            "storage_host": host_identity() if port.storage.shared < Sharing.CLUSTER else None,
            "advice_elsewhere": str(_settings.unreachable(port.storage, port.name, Sharing.CLUSTER)),
        }
        reference = self._ray.put(setup)
        launcher = ActorLauncher(
            self._ray, reference, self._needs, self._host, self._actor_class, follows, self._exit_timeout
        )
        return Pool(port, launcher, ActorTransport(Shelf(self._ray)), "evalpool-ray-io")

    def dispose(self) -> None:
        if self._session is not None:
            self._session.leave()
