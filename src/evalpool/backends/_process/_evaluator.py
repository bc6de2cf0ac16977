"""The evaluator on supervised processes."""

from __future__ import annotations

from typing import Any

from evalpool.backends._pool._backend import LaunchedBackend
from evalpool.backends._pool._ends import EXIT_TIMEOUT
from evalpool.backends._pool._evaluator import PoolEvaluator
from evalpool.backends._process._launcher import InterpreterLauncher

__all__ = ["ProcessBackend", "ProcessPoolEvaluator"]


class ProcessBackend(LaunchedBackend):
    """Interpreters of this machine."""

    launcher_class = InterpreterLauncher
    workers_are = InterpreterLauncher.workers_are
    thread_name = "evalpool-process-io"

    def __init__(self, exit_timeout: float = EXIT_TIMEOUT) -> None:
        super().__init__(exit_timeout=exit_timeout)


class ProcessPoolEvaluator(PoolEvaluator):
    """Runs run-functions in worker processes of this machine, each watched over.

    Workers are fresh interpreters; the run-function travels by value (lambdas, closures, functions of a script
    without a ``__main__`` guard, of a notebook), once per worker. A worker that dies costs only the job it ran and
    is replaced; a job over its timeout is killed with all its children. BLAS and OpenMP use CPUs divided by workers
    threads in each, unless the environment says otherwise. Workers end when this process does, however it ends.
    A run-function or keyword arguments that cannot be pickled make each job an ``F_unpicklable``.

    Args:
        run_function: as for every evaluator.
        exit_timeout: seconds that workers may take to end when the evaluator is closed. In this time they run what
            run-functions registered with `atexit`, such as a tracker's upload; a worker that takes longer is killed,
            with a warning. One that still runs a job is killed at once.
        **kwargs: as for every evaluator.
    """

    backend_class = ProcessBackend

    def __init__(self, run_function: Any, *, exit_timeout: float = EXIT_TIMEOUT, **kwargs: Any) -> None:
        super().__init__(run_function, exit_timeout=exit_timeout, **kwargs)
