"""What a pool uses of its evaluator, gathered in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool.evaluator._attempt import Attempt
from evalpool.outcomes import Worker

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator

__all__ = ["Attempt", "Owner"]


class Owner:
    """An evaluator as its pool sees it."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator, core = evaluator, evaluator._core
        self._core = core
        self.name = type(evaluator).__name__
        self.search_id: str = evaluator._search_id
        self.num_workers: int = evaluator._num_workers
        self.watches_starts: bool = evaluator._watches_starts
        self.decides = evaluator._stopper is not None
        self.after = evaluator._watchdog.after
        self.report = core.report
        """These attempts have ended, and how."""
        self.lost = core.lost
        self.add_slots = core.add_slots

    @property
    def has_deadlines(self) -> bool:
        return self._core.has_deadlines

    def set_workers(self, count: int) -> None:
        """There are so many workers now, or are to be."""
        self.num_workers = self._evaluator._num_workers = count

    def started(self, attempt: Attempt, worker: Worker) -> None:
        """An attempt begins to run."""
        self._evaluator._started(attempt.job, worker)

    def recorded(self, attempt: Attempt, budget: float, objective: Any) -> bool:
        """A running job recorded an objective at a budget; returns whether it shall end."""
        return self._evaluator._recorded(attempt.job.number, attempt.number, budget, objective)

    def asked_to_stop(self, attempt: Attempt) -> bool:
        """Was this attempt asked to stop, or has it ended for the evaluator?"""
        return self._evaluator._asked_to_stop(attempt.job.number, attempt.number)
