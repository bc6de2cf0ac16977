"""The evaluators whose workers are a pool's."""

from __future__ import annotations

from typing import Any

from evalpool._patched import refuse_if_patched
from evalpool.backends._pool._backend import LaunchedBackend
from evalpool.backends._pool._launcher import Launcher
from evalpool.evaluator._evaluator import Evaluator

__all__ = ["PoolEvaluator", "pool_evaluator"]


class PoolEvaluator(Evaluator):
    """An evaluator on a pool of workers in other processes.

    The run-function is sent by value, once per worker. If a worker dies, only the job that it ran fails, and the worker
    is replaced. A job that exceeds its timeout is killed with its worker. If the run-function or its keyword arguments
    cannot be pickled, each job ends as ``F_unpicklable``.
    """

    def __init__(self, run_function: Any, **kwargs: Any) -> None:
        refuse_if_patched(type(self).__name__)
        super().__init__(run_function, **kwargs)


def pool_evaluator(launcher_class: type[Launcher]) -> type[Evaluator]:
    """Return the class of evaluators whose workers this class of launchers starts; it also takes their arguments."""
    name = launcher_class.__name__.removesuffix("Launcher")
    facts = {"__doc__": launcher_class.__doc__ or PoolEvaluator.__doc__, "__module__": launcher_class.__module__}
    import inspect

    own = inspect.signature(launcher_class)  # the evaluator takes these arguments, and lists them for an unknown one
    engine = type(f"{name}PoolBackend", (LaunchedBackend,), {
        **facts, "launcher_class": launcher_class, "workers_are": launcher_class.workers_are, "__signature__": own,
    })  # fmt: skip
    return type(f"{name}PoolEvaluator", (PoolEvaluator,), {**facts, "backend_class": engine})
