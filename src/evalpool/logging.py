"""The log of evalpool and of run-functions: its level, and the job of each record.

evalpool logs below the logger ``"evalpool"`` of the standard library's `logging`, and shows
nothing unless the program or `set_level` sets up a handler. What a run-function logs, to any logger,
has its job's id, in this process and in the workers of the process backend::

    evalpool.logging.set_level("INFO")     # 12:03:44 INFO train [job 0.7]: epoch 3
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from evalpool._checks import is_whole
from evalpool.errors import BadArgument
from evalpool.worker._running_job import current_job

__all__ = ["JobIdFilter", "set_level"]

FORMAT = "%(asctime)s %(levelname)s %(name)s%(in_job)s: %(message)s"

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class JobIdFilter(logging.Filter):
    """Adds `job_id`, ``"0.7"`` or "", and `in_job`, ``" [job 0.7]"`` or "", to each record. Filters no record out.

    For a handler of your own: ``handler.addFilter(JobIdFilter())``; its format may then contain ``%(job_id)s``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        job = current_job.get()
        known: Any = record
        if not hasattr(record, "job_id"):
            known.job_id = "" if job is None else f"{job[0]}.{job[1]}"
        known.in_job = f" [job {known.job_id}]" if known.job_id else ""
        return True


_handler: logging.Handler | None = None


def set_level(level: int | str) -> None:
    """Show on stderr what is logged at `level` or above, by evalpool, the run-functions and all other code.

    It may be called again with another level. If the program has set up handlers of its own, these stay, and get a
    `JobIdFilter`.

    Raises:
        BadArgument: `level` is not a level of `logging`.
    """
    global _handler
    if isinstance(level, str) and level.upper() in _LEVELS:
        level = logging.getLevelName(level.upper())
    if not is_whole(level):
        raise BadArgument(f"the log level is {level!r}; give one of {', '.join(_LEVELS).lower()}, or a number.")
    root = logging.getLogger()
    if _handler is None and not root.handlers:
        _handler = logging.StreamHandler(sys.stderr)
        _handler.setFormatter(logging.Formatter(FORMAT, datefmt="%H:%M:%S"))
        root.addHandler(_handler)
    for handler in root.handlers:
        if not any(isinstance(known, JobIdFilter) for known in handler.filters):
            handler.addFilter(JobIdFilter())
    root.setLevel(int(level))
    logging.getLogger("evalpool").setLevel(int(level))
