"""Ends a search that has stopped improving."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._checks import check_number, is_real
from evalpool._log import get_logger
from evalpool.callbacks._base import Callback
from evalpool.callbacks._incumbent import Incumbent, is_evaluation
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["SearchEarlyStopping"]

logger = get_logger()


class SearchEarlyStopping(Callback):
    """Sets `search_stopped` when `patience` evaluations in a row have brought no improvement.

    An improvement is a larger objective or, with several objectives, a result that no other dominates, so that the
    hypervolume grows. A failure is not an improvement. Cancelled jobs do not count; jobs of other clients of the same
    search do.

    Args:
        patience: how many evaluations without improvement to wait for.
        objective_func: ``f(job) -> number``, used instead of the objective; larger is better. It is not called for
            failures.
        threshold: do not stop before the best (with several objectives: the hypervolume with respect to the
            worst values seen) is above this.
        verbose: log improvements and the end, at level INFO, to the logger ``evalpool``.
    """

    def __init__(
        self,
        patience: int = 10,
        objective_func: Callable[[Job[Any]], float] | None = None,
        threshold: float | None = None,
        verbose: bool = True,
    ) -> None:
        if objective_func is not None and not callable(objective_func):
            raise BadArgument(f"objective_func is {objective_func!r}; give a function of a job, or None.")
        if threshold is not None and not is_real(threshold):
            raise BadArgument(f"threshold is {threshold!r}; give a number, or None.")
        self._patience = check_number("patience", patience, 1)
        self._objective_func = objective_func
        self._threshold = threshold
        self._verbose = verbose
        self._incumbent = Incumbent()
        self._best: float | None = None  # of objective_func
        self._without_improvement = 0
        self.search_stopped = False

    def on_done(self, job: Job[Any]) -> None:
        if not is_evaluation(job):
            return
        if self._improves(job):
            self._without_improvement = 0
            if self._verbose:
                logger.info("Job %s is an improvement: %s", job.id, job.objective)
            return
        self._without_improvement += 1
        if self._without_improvement >= self._patience and not self.search_stopped and self._above_threshold():
            self.search_stopped = True
            if self._verbose:
                logger.info("The search ends: no improvement in the last %d evaluations.", self._without_improvement)

    def on_done_other(self, job: Job[Any]) -> None:
        self.on_done(job)

    def _improves(self, job: Job[Any]) -> bool:
        if self._objective_func is None:
            return self._incumbent.take(job)
        if job.kind is not None:
            return False
        value = self._objective_func(job)
        if value > (-math.inf if self._best is None else self._best):
            self._best = value
            return True
        return False

    def _above_threshold(self) -> bool:
        if self._threshold is None:
            return True
        best = self._best if self._objective_func is not None else self._incumbent.best
        if best is None and self._objective_func is None:
            best = self._incumbent.hypervolume
        return best is not None and best > self._threshold
