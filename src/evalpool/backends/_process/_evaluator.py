"""The evaluator on supervised processes: its hooks."""

from __future__ import annotations

from typing import Any, ClassVar

from evalpool.backends._process import _wire
from evalpool.backends._process._supervisor import Supervisor
from evalpool.evaluator._evaluator import Evaluator
from evalpool.evaluator._inbox import Inbox
from evalpool.evaluator._job import Job
from evalpool.evaluator._parcel import pack
from evalpool.outcomes import FailureKind, failed

__all__ = ["ProcessPoolEvaluator"]


class ProcessPoolEvaluator(Evaluator):
    """Runs run-functions in worker processes of this machine, each watched over.

    Workers are fresh interpreters; the run-function travels by value (lambdas, closures, functions of a script
    without a ``__main__`` guard, of a notebook), once per worker. A worker that dies costs only the job it ran and
    is replaced; a job over its timeout is killed with all its children. BLAS and OpenMP use CPUs divided by workers
    threads in each, unless the environment says otherwise. Workers end when this process does, however it ends.
    A run-function or keyword arguments that cannot be pickled make each job an ``F_unpicklable``.
    """

    _workers_are: ClassVar[str] = "processes"

    def __init__(self, run_function: Any, **kwargs: Any) -> None:
        super().__init__(run_function, **kwargs)
        self._supervisor: Supervisor | None = None
        self._unpicklable = ""
        self._set_slots(-self._num_workers)  # workers bring theirs when they are up

    def _start(self) -> None:
        parcel = pack(self)
        if parcel.error:
            self._unpicklable = parcel.error
            self._set_slots(self._num_workers)
            return
        setup = {
            "task": parcel.task,
            "storage": parcel.storage,
            "advice": parcel.advice,
            "decides": self._stopper is not None,
        }
        payload, buffers = _wire.dump(setup)
        self._supervisor = Supervisor(self, _wire.frame(_wire.SETUP, payload, buffers))

    def _dispatch(self, job: Job[Any]) -> None:
        self._dispatch_all([job])

    def _dispatch_all(self, jobs: list[Job[Any]]) -> None:
        if self._supervisor is not None:
            self._supervisor.dispatch(jobs)
            return
        for job in jobs:
            self._report(job, failed(FailureKind.UNPICKLABLE, self._unpicklable))

    def _wait(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        if self._supervisor is None or not self._supervisor.lead(inbox, size, deadline):
            super()._wait(inbox, size, deadline)

    def _ask_to_stop(self, job: Job[Any]) -> None:
        if self._supervisor is not None:
            self._supervisor.ask_to_stop(job)

    def _interrupt(self, job: Job[Any]) -> bool:
        return self._supervisor is not None and self._supervisor.interrupt(job)

    def _stop(self, now: bool) -> None:
        if self._supervisor is not None:
            self._supervisor.stop(now)
            self._supervisor = None
