"""One line in the log per job."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from evalpool._log import get_logger
from evalpool._text import brief, printable
from evalpool.callbacks._base import Callback
from evalpool.callbacks._incumbent import Incumbent, is_evaluation
from evalpool.outcomes import last_line

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["LoggerCallback"]

logger = get_logger()

LONGEST = 200
"""The most characters of a text that are logged."""


class LoggerCallback(Callback):
    """Logs each job that is done: its objective and the best so far, or why it failed.

    Results are logged at level INFO, failures at WARNING, to the logger ``evalpool``. To see the results::

        logging.basicConfig(level=logging.INFO)
    """

    tells_failures = True

    def __init__(self) -> None:
        self._incumbent = Incumbent()

    def on_done(self, job: Job[Any]) -> None:
        self._log(job, "")

    def on_done_other(self, job: Job[Any]) -> None:
        self._log(job, " of another client")

    def _log(self, job: Job[Any], whose: str) -> None:
        if not is_evaluation(job):
            logger.info("Job %s%s was cancelled.", job.id, whose)
            return
        incumbent = self._incumbent
        incumbent.take(job)
        if job.kind is not None:
            logger.warning(
                "[%d] Job %s%s failed: %s%s",
                incumbent.evaluations,
                job.id,
                whose,
                printable(str(job.objective), LONGEST),
                _reason(job),
            )
            return
        if not logger.isEnabledFor(logging.INFO):
            return  # the text costs more than all the rest
        best = "".join(f", {name} {value}" for name, value in incumbent.summary().items())
        if incumbent.best_job is not None:
            best += f" (job {incumbent.best_job})"
        logger.info("[%d] Job %s%s: %s%s", incumbent.evaluations, job.id, whose, _result(job), best)


def _result(job: Job[Any]) -> str:
    objective = job.objective
    if isinstance(objective, float):
        return f"objective {brief(objective)}"
    if isinstance(objective, tuple):
        return "objectives " + ", ".join(
            brief(value) if isinstance(value, (int, float)) else str(value) for value in objective
        )
    return ("objective " if job.job_type == "hpo" else "output ") + printable(str(objective), LONGEST)


def _reason(job: Job[Any]) -> str:
    """The last line of the error, in brackets; the whole error is in `job.error`."""
    reason = last_line(job.error)
    return f" ({reason})" if reason else ""
