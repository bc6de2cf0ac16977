"""`get_multiple_wrappers`: a wrapper for each worker of a simulated run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from evalpool.simulation._interface import ObjectiveFuncType
from evalpool.simulation._thinking import Overhead
from evalpool.simulation._wrapper import ObjectiveFuncWrapper

__all__ = ["get_multiple_wrappers"]


def get_multiple_wrappers(
    obj_func: ObjectiveFuncType | Callable[..., dict[str, Any]],
    save_dir_name: str | None = None,
    n_workers: int = 4,
    n_actual_evals_in_opt: int = 105,
    n_evals: int = 100,
    fidel_keys: list[str] | None = None,
    obj_keys: list[str] | None = None,
    runtime_key: str = "runtime",
    seed: int | None = None,
    continual_max_fidel: int | None = None,
    max_waiting_time: float = math.inf,
    check_interval_time: float = 1e-4,
    store_config: bool = False,
    store_actual_cumtime: bool = False,
    allow_parallel_sampling: bool = False,
    config_tracking: bool = True,
    max_total_eval_time: float = math.inf,
    expensive_sampler: bool = False,
    tmp_dir: str | None = None,
    batch_size: int | None = None,
    *,
    overhead: Overhead = "measured",
    on_lost: Literal["fail", "leave", "raise"] = "fail",
) -> list[ObjectiveFuncWrapper]:
    """Return one wrapper for each caller of one run, 0 to ``n_workers - 1``; each may be sent to another process.

    With `batch_size` there is one caller, who brings the evaluations of all workers, and so one wrapper.

    For optimisers that take a worker object each. The coordinator is in this process, and the run ends with the last
    of the wrappers here. The arguments are those of `ObjectiveFuncWrapper`.
    """
    return ObjectiveFuncWrapper(**locals()).per_caller()  # locals() has only the arguments here
