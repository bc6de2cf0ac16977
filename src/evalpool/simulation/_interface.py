"""What optimisers and objectives look like to the simulated wrapper; the names are mfhpo-simulator's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

__all__ = ["AbstractAskTellOptimizer", "ObjectiveFuncType"]


class AbstractAskTellOptimizer(ABC):
    """An optimiser that proposes and is told.

    Deriving from it is a help, not a condition.
    """

    @abstractmethod
    def ask(self) -> tuple[Any, ...]:
        """Propose: ``(eval_config, fidels)`` or ``(eval_config, fidels, config_id)``.

        `eval_config` is a dict; `fidels` a dict, or None without fidelities; `config_id` a number that stands for
        `eval_config` whenever it is proposed again, at another fidelity.
        """

    @abstractmethod
    def tell(
        self,
        eval_config: dict[str, Any],
        results: dict[str, Any],
        *,
        fidels: dict[str, int | float] | None = None,
        config_id: int | None = None,
    ) -> None:
        """Learn what a proposal gave: `results` holds the objectives and the runtime that was charged."""


class ObjectiveFuncType(Protocol):
    """An objective: it answers at once, and says how long it would have taken."""

    def __call__(
        self,
        eval_config: dict[str, Any],
        *,
        fidels: dict[str, int | float] | None = None,
        seed: int | None = None,
        **data_to_scatter: Any,
    ) -> dict[str, Any]:
        """Returns at least the objectives and the runtime, seconds from scratch, under their keys."""
