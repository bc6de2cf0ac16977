"""The evaluator on supervised processes: its hooks."""

from __future__ import annotations

import pickle
from typing import Any, ClassVar

from evalpool._checks import check_real
from evalpool.backends._pool import _wire
from evalpool.backends._pool._ends import EXIT_TIMEOUT
from evalpool.backends._pool._logs import levels
from evalpool.backends._pool._supervised import SupervisedEvaluator
from evalpool.backends._process._supervisor import Supervisor
from evalpool.batch._deadline import heard_by_the_search
from evalpool.evaluator._parcel import pack

__all__ = ["ProcessPoolEvaluator"]


class ProcessPoolEvaluator(SupervisedEvaluator):
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

    _workers_are: ClassVar[str] = "processes"
    _jobs_are_isolated = True

    def __init__(self, run_function: Any, *, exit_timeout: float = EXIT_TIMEOUT, **kwargs: Any) -> None:
        self._exit_timeout = check_real("exit_timeout", exit_timeout, least=0)
        super().__init__(run_function, **kwargs)

    def _start(self) -> None:
        large: list[pickle.PickleBuffer] = []
        parcel = pack(self, large.append)
        if parcel.error:
            self._refuse_all(parcel.error)
            return
        setup = {
            "origin": parcel.origin,
            "task": parcel.task,
            "buffers": large,
            "storage": parcel.storage,
            "advice": parcel.advice,
            "decides": self._stopper is not None,
            "lends": True,
            "levels": levels(),
            "signals": heard_by_the_search(),
        }
        self._supervisor = Supervisor(self, *_wire.dump(setup), self._exit_timeout)
