"""Takes what the engine reports of running attempts: their starts, and the results that they record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic

if TYPE_CHECKING:
    from evalpool.evaluator._attempt import Attempt
    from evalpool.evaluator._core import Core
    from evalpool.evaluator._timeline import Timeline
    from evalpool.evaluator._watching import Watching
    from evalpool.outcomes import Worker

__all__ = ["RunningAttempts"]


class RunningAttempts:
    """Takes starts and records from any thread, without a lock. Time limits count from the reported start.

    Args:
        watching: passes starts and records to stopper, recorder and callbacks.
        timeline: of simulated time, or None.
        origin: when the search began, by `_clock.monotonic`.
    """

    def __init__(self, core: Core, watching: Watching, timeline: Timeline | None, origin: float) -> None:
        self._core = core
        self._running = core.ledger.running
        self._watching = watching
        self._timeline = timeline
        self._origin = origin

    def watches_starts(self) -> bool:
        """Whether the backend must report when an attempt starts. That costs a call per job, so only if it is used."""
        if self._timeline is not None:
            return False  # the timeline decides when a job starts; its real start does not matter
        return self._core.has_deadlines or self._watching.starts

    def started(self, attempt: Attempt, worker: Worker | None = None) -> None:
        """Take the start of an attempt."""
        job = attempt.job
        job._started = monotonic() - self._origin
        self._core.stops.started(attempt)
        if self._watching.starts:
            self._watching.started(job, job._started, attempt.number, worker)

    def recorded(self, attempt: Attempt, budget: float, objective: Any, runtime: Any = None) -> bool:
        """Take an intermediate result of an attempt; return whether it shall stop."""
        job = attempt.job
        if self._timeline is not None:
            return self._timeline.recorded(job.number, budget, objective, runtime)
        if self._running.get(job.number) is not attempt:
            return True
        return self._watching.recorded(job, budget, objective)
