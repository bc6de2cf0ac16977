"""Logs the first failure of each sort: if a typo makes all jobs of a search fail, the user must see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evalpool._log import get_logger
from evalpool._text import LONGEST_LINE, printable
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, Outcome, last_line, place_of

__all__ = ["FirstFailures"]

logger = get_logger()

MOST = 20
"""How many different failures are logged at most; a run-function may return a new text each time."""

_ENDED_FROM_OUTSIDE = frozenset({FailureKind.CANCELLED, FailureKind.SUSPENDED})


class FirstFailures:
    """Logs failures, each sort once. In the caller's thread.

    Args:
        callbacks: of the evaluator. If one of them logs every failure itself, nothing is logged here.
    """

    def __init__(self, callbacks: Iterable[Any]) -> None:
        self._told: set[str] = set()
        self._others_tell = any(getattr(callback, "tells_failures", False) for callback in callbacks)

    def look(self, jobs: Iterable[Job[Any]]) -> None:
        """Log new sorts of failures among jobs that were just gathered. Costs a comparison for each job."""
        if self._others_tell:
            return
        for job in jobs:
            outcome = job._outcome
            if outcome is None or outcome.kind is None or (job._history or {}).get("restored"):
                continue
            self.tell(job.id, outcome, " job.error has the whole error.")

    def tell(self, job: str, outcome: Outcome, more: str = "") -> None:
        """Log a failure, if it is the first of its sort.

        Args:
            job: its id, or its number.
            outcome: of a job that failed.
            more: where to find more.
        """
        text = str(outcome.objective)
        if outcome.kind in _ENDED_FROM_OUTSIDE or text in self._told or len(self._told) >= MOST:
            return
        self._told.add(text)
        because = _because(outcome.error)
        message = "Job %s failed: %s%s. Later failures of this sort are not logged.%s"
        logger.warning(message, job, printable(text, LONGEST_LINE), because, more)


def _because(error: str | None) -> str:
    reason, place = last_line(error), place_of(error)
    return (f" ({reason}" + (f", at {place}" if place else "") + ")") if reason else ""
