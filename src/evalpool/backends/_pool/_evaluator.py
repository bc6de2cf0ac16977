"""The evaluators whose workers are a pool's."""

from __future__ import annotations

import inspect
from typing import Any

from evalpool._patched import refuse_if_patched
from evalpool.backends._pool._backend import LaunchedBackend
from evalpool.backends._pool._launcher import Launcher
from evalpool.evaluator._evaluator import Evaluator

__all__ = ["PoolEvaluator", "pool_evaluator"]


class PoolEvaluator(Evaluator):
    """Its workers are a pool's, in other processes.

    The run-function travels by value, once per worker. A worker that dies costs only the job it ran and is replaced;
    a job over its timeout is killed with its worker. A run-function or keyword arguments that cannot be pickled make
    each job an ``F_unpicklable``.
    """

    def __init__(self, run_function: Any, **kwargs: Any) -> None:
        refuse_if_patched(type(self).__name__)
        super().__init__(run_function, **kwargs)


def pool_evaluator(launcher_class: type[Launcher]) -> type[Evaluator]:
    """The class of evaluators whose workers are started by launchers of this class, whose arguments they take, too."""
    name = launcher_class.__name__.removesuffix("Launcher")
    facts = {"__doc__": launcher_class.__doc__ or PoolEvaluator.__doc__, "__module__": launcher_class.__module__}
    own = inspect.signature(launcher_class)  # what the evaluator takes, too, and says if an argument is unknown
    engine = type(f"{name}PoolBackend", (LaunchedBackend,), {
        **facts, "launcher_class": launcher_class, "workers_are": launcher_class.workers_are, "__signature__": own,
    })  # fmt: skip
    return type(f"{name}PoolEvaluator", (PoolEvaluator,), {**facts, "backend_class": engine})
