"""Engines that are subclasses of `Evaluator`: their hooks, called as a backend is, and what they may call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool.evaluator._attempt import Attempt
from evalpool.outcomes import Outcome

if TYPE_CHECKING:
    from evalpool.evaluator._core import Core
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.jobs._inbox import Inbox
    from evalpool.jobs._job import Job

__all__ = ["InheritedBackend", "Services"]


class InheritedBackend:
    """The hooks of an evaluator as a backend."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    @property
    def workers_are(self) -> str:
        """What a storage must reach."""
        return self._evaluator._workers_are

    def run(self, attempts: list[Attempt]) -> None:
        """Hand jobs over."""
        self._evaluator._dispatch_all([attempt.job for attempt in attempts])

    def ask_to_stop(self, attempt: Attempt) -> None:
        """Tell a job that it shall stop."""
        self._evaluator._ask_to_stop(attempt.job)

    def force_stop(self, attempt: Attempt) -> bool:
        """Stop a job by force."""
        return self._evaluator._interrupt(attempt.job)


class Services:
    """What the engines of the form of a subclass call: jobs and numbers in the place of attempts."""

    _core: Core

    def _report(self, job: Job[Any], outcome: Outcome, attempt: int | None = None) -> None:
        self._report_all([(job, outcome)], attempt)

    def _report_all(self, reports: list[tuple[Job[Any], Outcome]], attempt: int | None = None) -> None:
        running = self._core.ledger.running
        found: list[tuple[Attempt, Outcome]] = []
        for job, outcome in reports:
            current = running.get(job.number)
            if current is None or current.job is not job or (attempt is not None and current.number != attempt):
                current = self._disowned_attempt(job, attempt)
                if current is None:
                    continue
            found.append((current, outcome))
        self._core.report(found)

    def _disowned_attempt(self, job: Job[Any], number: int | None) -> Attempt | None:
        with self._core.lock:
            disowned = self._core.ledger.disowned
            return next((each for each in disowned if each.job is job and number in (None, each.number)), None)

    def _set_slots(self, change: int) -> None:
        with self._core.lock:
            self._core.ledger.add_slots(change)

    def _pump(self) -> None:
        self._core.pump()

    def _end_lost(self, has: Callable[[], set[int]], capacity: int, error: BaseException) -> None:
        self._core.lost(has, capacity, error)

    def _asked_to_stop(self, number: int, attempt: int) -> bool:
        current = self._core.ledger.running.get(number)
        return current is None or current.number != attempt or current.job._stop is not None

    @property
    def _running(self) -> dict[int, Attempt]:
        return self._core.ledger.running

    @property
    def _condition(self) -> Any:
        return self._core.condition

    @property
    def _has_deadlines(self) -> bool:
        return self._core.has_deadlines

    def _wait(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        self._core.wait(inbox, size, deadline)

    async def _await(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        await self._core.wait_in_a_loop(inbox, size, deadline, self._watchdog.after)  # type: ignore[attr-defined]
