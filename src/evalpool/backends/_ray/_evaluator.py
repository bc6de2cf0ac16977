"""The evaluator on a Ray cluster: its arguments."""

from __future__ import annotations

from typing import Any

from evalpool.backends._pool._ends import EXIT_TIMEOUT
from evalpool.backends._pool._evaluator import PoolEvaluator
from evalpool.backends._ray._backend import ActorBackend

__all__ = ["RayEvaluator"]


class RayEvaluator(PoolEvaluator):
    """Runs run-functions in actors of a Ray cluster, on this machine or on others.

    Each worker is an actor with its own resources. If a worker or node dies, the job that ran there ends as
    ``F_worker_died``, with Ray's reason. A job that exceeds its timeout is killed with its children. Jobs are retried
    only by `retries`. Arrays in `run_function_kwargs`, and large ones in configurations, go through Ray's object store:
    the workers of a host share them, read-only. Workers connect back to this host.

    If Ray runs in this process, the evaluator uses it and leaves it running. Otherwise it connects to a cluster or
    starts one, and ends that when the last evaluator is closed.

    Args:
        run_function: as for every evaluator.
        num_workers: None or -1 for as many as the cluster's nodes have room for; nodes that join or leave change it
            (checked every two seconds). A number may be larger: the other workers start when there is room, or when
            the cluster has started nodes for them.
        address: of a cluster, such as ``"host:6379"``; ``"auto"`` for one that runs on this host; None for the one that
            this process uses, else the one in RAY_ADDRESS, else a new one on this host.
        num_cpus, num_gpus: what a new cluster on this machine shall offer; None for all that there are.
        num_cpus_per_task, num_gpus_per_task: what each worker, and so each job, has for itself; below 1, fractions are
            allowed.
        resources_per_task: the same for custom resources, by name.
        memory_per_task: bytes that Ray reserves for each worker. Ray starts only as many workers as fit. It does not
            end a worker that uses more; for that, see `profile`.
        ray_kwargs: arguments for `ray.init`, such as ``runtime_env``.
        exit_timeout: seconds that workers may take to end when the evaluator is closed, as on the process backend.
        **kwargs: as for every evaluator.

    Raises:
        BackendError: there is no cluster at `address`.
        BadArgument: no node of the cluster can ever offer the resources; Ray refuses the `runtime_env`; or Ray runs in
            this process with other settings.
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
