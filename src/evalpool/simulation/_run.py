"""The settings of a simulated run that all its callers share, and what they say to their coordinator."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

from evalpool.errors import SimulationError

__all__ = ["Begun", "Joined", "Over", "Released", "Result", "RunSettings"]


@dataclasses.dataclass(frozen=True, slots=True)
class RunSettings:
    """What must be the same for every caller. As JSON in the log's first line and in every greeting."""

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
        """In batches one caller brings the jobs of all virtual workers."""
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
        """Raise `SimulationError` if another caller has other settings, with both."""
        mine = self.as_json()
        differing = [name for name, value in mine.items() if others.get(name) != value]
        if differing:
            both = ", ".join(f"{name}={others.get(name)!r} instead of {mine[name]!r}" for name in differing)
            raise SimulationError(f"A caller came with other settings than the first: {both}. Give all the same.")


class Result(NamedTuple):
    """What a caller reports about one evaluation.

    Attributes:
        runtime: seconds from scratch; NaN for none.
        failed: the objective raised, or its output was none.
        text: JSON of what is to be kept beside the times, the inside of an object: ``"values":[...]``.
    """

    runtime: float
    failed: bool
    text: bytes


class Joined(NamedTuple):
    """A caller has a worker.

    Attributes:
        worker: its index.
        seed: of the caller's first job.
        calls: how many evaluations this worker has brought before, by another caller.
        first: the caller's first decision began with the run: it was not there yet, but waited for.
    """

    worker: int
    seed: int
    calls: int
    first: bool


class Begun(NamedTuple):
    """A call may evaluate, with this seed, resuming from this fidelity."""

    seed: int
    resumed: int | None


class Released(NamedTuple):
    """A call's virtual turn has come.

    Attributes:
        charged: seconds of virtual time that it occupied its worker.
        seed: of the caller's next job.
        over: there is no next job.
    """

    charged: float
    seed: int
    over: bool


class Over(NamedTuple):
    """The run is over for this caller: its calls return the sentinel."""
