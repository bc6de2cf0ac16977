"""The hooks of every evaluator whose workers are looked after by an `Ahead`."""

from __future__ import annotations

from typing import Any

from evalpool._patched import refuse_if_patched
from evalpool.backends._pool._ahead import Ahead
from evalpool.evaluator._evaluator import Evaluator
from evalpool.jobs._inbox import Inbox
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, failed

__all__ = ["SupervisedEvaluator"]


class SupervisedEvaluator(Evaluator):
    """An engine implements `_start`: it sets `_supervisor`, or `_unpicklable` and calls `_offer_all_slots`."""

    def __init__(self, run_function: Any, **kwargs: Any) -> None:
        refuse_if_patched(type(self).__name__)
        super().__init__(run_function, **kwargs)
        self._supervisor: Ahead | None = None
        self._unpicklable = ""
        self._set_slots(-self._num_workers)  # workers bring theirs when they are up

    def _refuse_all(self, reason: str) -> None:
        """The run-function cannot go to any worker: each job ends with this reason."""
        self._unpicklable = reason
        self._set_slots(self._num_workers)

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
        supervisor: Any = self._supervisor
        if supervisor is not None:
            supervisor.stop(now)
            self._supervisor = None
