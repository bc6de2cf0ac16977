"""The interfaces of optimisers and objectives for the simulated wrapper, with mfhpo-simulator's names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

__all__ = ["AbstractAskTellOptimizer", "ObjectiveFuncType"]


class AbstractAskTellOptimizer(ABC):
    """An optimiser with the methods `ask` and `tell`. An optimiser need not derive from this class."""

    @abstractmethod
    def ask(self) -> tuple[Any, ...]:
        """Return a proposal: ``(eval_config, fidels)`` or ``(eval_config, fidels, config_id)``.

        `eval_config` is a dict; `fidels` is a dict, or None without fidelities; `config_id` is a number that identifies
        `eval_config` when it is proposed again at another fidelity.
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
        """Take the results of a proposal: the objectives, and the runtime that was charged."""


class ObjectiveFuncType(Protocol):
    """An objective: it returns at once, and says how long the evaluation would have taken."""

    def __call__(
        self,
        eval_config: dict[str, Any],
        *,
        fidels: dict[str, int | float] | None = None,
        seed: int | None = None,
        **data_to_scatter: Any,
    ) -> dict[str, Any]:
        """Return at least the objectives and the runtime (seconds from scratch), under their keys."""
