"""The evaluator on supervised processes."""

from __future__ import annotations

from typing import Any

from evalpool.backends._pool._backend import LaunchedBackend
from evalpool.backends._pool._ends import EXIT_TIMEOUT
from evalpool.backends._pool._evaluator import PoolEvaluator
from evalpool.backends._process._launcher import InterpreterLauncher

__all__ = ["ProcessBackend", "ProcessPoolEvaluator"]


class ProcessBackend(LaunchedBackend):
    """Runs jobs in interpreters on this machine."""

    launcher_class = InterpreterLauncher
    workers_are = InterpreterLauncher.workers_are
    thread_name = "evalpool-process-io"

    def __init__(self, exit_timeout: float = EXIT_TIMEOUT) -> None:
        super().__init__(exit_timeout=exit_timeout)


class ProcessPoolEvaluator(PoolEvaluator):
    """Runs run-functions in supervised worker processes on this machine.

    Workers are fresh interpreters. The run-function is sent by value, once per worker: it may be a lambda, a closure,
    or a function of a notebook or of a script without a ``__main__`` guard. If a worker dies, only the job that it ran
    fails, and the worker is replaced. A job that exceeds its timeout is killed with all its children. In each worker,
    BLAS and OpenMP use as many threads as there are CPUs per worker, unless the environment sets their number. Workers
    end when this process does, however it ends. If the run-function or its keyword arguments cannot be pickled, each
    job ends as ``F_unpicklable``.

    Args:
        run_function: as for every evaluator.
        exit_timeout: seconds that workers may take to end when the evaluator is closed. In this time they call what
            run-functions registered with `atexit`, such as a tracker's upload. A worker that takes longer is killed,
            with a warning; one that still runs a job is killed at once.
        **kwargs: as for every evaluator.
    """

    backend_class = ProcessBackend

    def __init__(self, run_function: Any, *, exit_timeout: float = EXIT_TIMEOUT, **kwargs: Any) -> None:
        super().__init__(run_function, exit_timeout=exit_timeout, **kwargs)
