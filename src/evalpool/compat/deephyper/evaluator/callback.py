"""The callbacks of `deephyper.evaluator.callback`: they hear of the jobs of this package, and print as there."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from evalpool import callbacks as core
from evalpool.analysis import hypervolume
from evalpool.compat.deephyper.evaluator._csv_logger import CSVTable
from evalpool.compat.deephyper.evaluator._job import Job
from evalpool.errors import BadArgument

__all__ = ["CSVLoggerCallback", "Callback", "LoggerCallback", "SearchEarlyStopping", "TqdmCallback"]


class Callback:
    """Watches jobs. Any object with some of these hooks will do."""

    def on_launch(self, job: Job) -> None:
        """A job was submitted."""

    def on_done(self, job: Job) -> None:
        """A job of this evaluator was gathered."""

    def on_done_other(self, job: Job) -> None:
        """A job that another client of the search finished was seen."""

    def on_gather(self, local_jobs: list[Job], other_jobs: list[Job]) -> None:
        """Jobs were gathered."""

    def on_close(self) -> None:
        """The evaluator is closed."""


class ObjectiveRecorder:
    """The best objective so far, of a job after the other; of several objectives the hypervolume.

    Its reference point are the worst values so far.
    """

    def __init__(self) -> None:
        self._best = -math.inf
        self._points: list[Any] = []

    def __call__(self, job: Any) -> float:
        objective = job.objective
        if isinstance(objective, str):
            return self._best
        if np.ndim(objective) == 0:
            self._best = max(self._best, float(objective))
        elif np.all(np.isreal(objective)):
            self._points.append(tuple(float(value) for value in objective))
            self._best = float(hypervolume(self._points, np.min(self._points, axis=0)))
        return self._best


class LoggerCallback(Callback):
    """Prints a line for each job that is done: the best objective, or the hypervolume, and the last; or the failure."""

    def __init__(self) -> None:
        self._n_done = 0
        self._best_of = ObjectiveRecorder()

    def on_done_other(self, job: Job) -> None:
        self.on_done(job)

    def on_done(self, job: Any) -> None:
        self._n_done += 1
        objective = job.objective
        best = self._best_of(job)
        if isinstance(objective, str) or not np.all(np.isreal(objective)):
            print(f"[{self._n_done:05d}] -- Last Failure: {objective}")
        elif np.ndim(objective) > 0:
            last = tuple(round(value, 5) for value in objective)
            print(f"[{self._n_done:05d}] -- HVI Objective: {best:.5f} -- Last Objective: {last}")
        else:
            print(f"[{self._n_done:05d}] -- Maximum Objective: {best:.5f} -- Last Objective: {objective:.5f}")


class TqdmCallback(Callback):
    """A progress bar: evalpool's, in a terminal, a notebook or a log.

    Args:
        description: text before the bar.
    """

    def __init__(self, description: str | None = None) -> None:
        self._bar = core.TqdmCallback(description, disable=False)

    def set_max_evals(self, max_evals: int | None) -> None:
        """How many jobs there will be; the bar begins anew."""
        self._bar.set_max_evals(max_evals)

    def on_done_other(self, job: Job) -> None:
        self.on_done(job)

    def on_done(self, job: Job) -> None:
        self._bar.on_done(_evaluated(job))

    def on_close(self) -> None:
        self._bar.on_close()


class SearchEarlyStopping(Callback):
    """Sets `search_stopped` when `patience` jobs in a row have brought nothing better. A failure brings nothing better.

    Args:
        patience: how many.
        objective_func: ``f(job) -> number``, larger is better; called for failures, too. None for the best objective so
            far, or the hypervolume.
        threshold: do not stop before the best is above it.
        verbose: print improvements and the end.
    """

    def __init__(
        self,
        patience: int = 10,
        objective_func: Callable[[Any], float] | None = None,
        threshold: float | None = None,
        verbose: bool = True,
    ) -> None:
        self._patience = patience
        self._objective_func = ObjectiveRecorder() if objective_func is None else objective_func
        self._threshold = threshold
        self._verbose = verbose
        self._best_objective: float | None = None
        self._n_lower = 0
        self.search_stopped = False

    def on_done_other(self, job: Job) -> None:
        self.on_done(job)

    def on_done(self, job: Job) -> None:
        value = self._objective_func(job)
        if self._best_objective is None:
            self._best_objective = value
        elif value > self._best_objective:
            self._say(f"Objective has improved from {self._best_objective:.5f} -> {value:.5f}")
            self._best_objective, self._n_lower = value, 0
        else:
            self._n_lower += 1
        if self._n_lower >= self._patience and (self._threshold is None or self._best_objective > self._threshold):
            self._say(f"Stopping the search because it did not improve for the last {self._patience} evaluations!")
            self.search_stopped = True

    def _say(self, text: str) -> None:
        if self._verbose:
            print(text)


class CSVLoggerCallback(Callback):
    """Keeps a table of all gathered jobs in a CSV file, with deephyper's columns, whole after every gather.

    Columns that come later are added. Texts are written as they are. If texts may come from people you do not
    trust, use `evalpool.callbacks.CSVLoggerCallback`, which changes texts that spreadsheets would take for formulas.

    Args:
        path: the file; its directory must exist.

    Raises:
        BadArgument: it does not.
    """

    def __init__(self, path: str = "results.csv") -> None:
        self.path = os.path.abspath(path)
        if not os.path.isdir(os.path.dirname(self.path)):
            directory = os.path.dirname(self.path)
            raise BadArgument(f"path is {path!r}, and its directory {directory!r} is missing. Make it first.")
        self._table = CSVTable(self.path)

    def on_gather(self, local_jobs: list[Job], other_jobs: list[Job]) -> None:
        self._table.add([*local_jobs, *other_jobs])


def _evaluated(job: Any) -> Any:
    """evalpool's job behind one of here; under an evaluator of evalpool's own it comes itself."""
    return getattr(job, "_evaluated", job)
