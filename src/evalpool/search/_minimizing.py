"""Lets an optimiser that maximises search for the smallest objectives: objectives are told with the other sign."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["Minimizing"]


class Minimizing:
    """Asks another optimiser, and tells it the negative of each objective. Jobs and records keep what was returned."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    def ask(self) -> dict[str, Any]:
        configuration: dict[str, Any] = self._optimizer.ask()
        return configuration

    def tell(self, job: Job[Any]) -> None:
        outcome = job._outcome
        if outcome is not None and outcome.kind is None:
            job = copy.copy(job)  # without its evaluator; the caller's own job is not changed
            job._outcome = outcome._replace(objective=_negative(outcome.objective))
        self._optimizer.tell(job)


def _negative(objective: Any) -> Any:
    return tuple(-value for value in objective) if isinstance(objective, tuple) else -objective
