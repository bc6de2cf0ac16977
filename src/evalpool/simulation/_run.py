"""The settings of a simulated run that all its callers share, and the messages between them and the coordinator."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

from evalpool.errors import SimulationError

__all__ = ["Begun", "Joined", "Over", "Released", "Result", "RunSettings"]


@dataclasses.dataclass(frozen=True, slots=True)
class RunSettings:
    """The settings that must be the same for all callers. The log's first line and each JOIN frame contain them."""

    n_workers: int
    n_evals: int
    obj_keys: tuple[str, ...]
    runtime_key: str
    fidel_keys: tuple[str, ...] | None
    seed: int | None
    continual_max_fidel: int | None
    max_total_eval_time: float
    overhead: str
    sampling: str
    expensive_sampler: bool
    batch_size: int | None
    max_waiting_time: float
    check_interval_time: float
    store_config: bool
    store_actual_cumtime: bool
    config_tracking: bool
    on_lost: str

    @property
    def num_callers(self) -> int:
        """How many callers there are. With batches, one caller submits the jobs of all virtual workers."""
        return 1 if self.batch_size is not None else self.n_workers

    def as_json(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        for name in ("max_total_eval_time", "max_waiting_time"):
            if math.isinf(values[name]):
                values[name] = None
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunSettings:
        values = dict(values)
        for name in ("max_total_eval_time", "max_waiting_time"):
            if values[name] is None:
                values[name] = math.inf
        for name in ("obj_keys", "fidel_keys"):
            if values[name] is not None:
                values[name] = tuple(values[name])
        return cls(**values)

    def agree(self, others: dict[str, Any]) -> None:
        """Raise `SimulationError` if another caller has different settings, with both values."""
        mine = self.as_json()
        differing = [name for name, value in mine.items() if others.get(name) != value]
        if differing:
            both = ", ".join(f"{name}={others.get(name)!r} instead of {mine[name]!r}" for name in differing)
            raise SimulationError(
                f"A caller has other settings than the first one: {both}. Give all callers the same settings."
            )


class Result(NamedTuple):
    """What a caller reports about one evaluation.

    Attributes:
        runtime: seconds from scratch; NaN if there is none.
        failed: whether the objective raised, or its output was invalid.
        text: what the log keeps besides the times, as JSON, the inside of an object: ``"values":[...]``.
    """

    runtime: float
    failed: bool
    text: bytes


class Joined(NamedTuple):
    """The reply to a caller that has become a worker.

    Attributes:
        worker: its index.
        seed: of the caller's first job.
        calls: how many evaluations earlier callers have made as this worker.
        first: whether the caller's first decision began when the run did, because all others waited for this caller.
    """

    worker: int
    seed: int
    calls: int
    first: bool


class Begun(NamedTuple):
    """The reply to a call that may evaluate: its seed, and the fidelity that it resumes from, or None."""

    seed: int
    resumed: int | None


class Released(NamedTuple):
    """The reply to a call at its virtual end.

    Attributes:
        charged: seconds of virtual time for which it occupied its worker.
        seed: of the caller's next job.
        over: whether there is no next job.
    """

    charged: float
    seed: int
    over: bool


class Over(NamedTuple):
    """The reply to a caller for which the run is over: its calls return the sentinel."""
