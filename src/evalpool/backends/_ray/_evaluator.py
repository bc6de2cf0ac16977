"""The evaluator on a Ray cluster: its arguments."""

from __future__ import annotations

from typing import Any

from evalpool.backends._pool._ends import EXIT_TIMEOUT
from evalpool.backends._pool._evaluator import PoolEvaluator
from evalpool.backends._ray._backend import ActorBackend

__all__ = ["RayEvaluator"]


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

    backend_class = ActorBackend

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
        own = {
            "address": address,
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "num_cpus_per_task": num_cpus_per_task,
            "num_gpus_per_task": num_gpus_per_task,
            "resources_per_task": resources_per_task,
            "memory_per_task": memory_per_task,
            "ray_kwargs": ray_kwargs,
            "exit_timeout": exit_timeout,
        }
        super().__init__(run_function, num_workers=-1 if num_workers is None else num_workers, **own, **kwargs)
