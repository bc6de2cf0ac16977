"""Writes each job into a CSV file as it is gathered."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from evalpool._interrupts import from_a_handler
from evalpool._log import get_logger
from evalpool.callbacks._base import Callback
from evalpool.tables._tables import TableWriter

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["CSVLoggerCallback"]

logger = get_logger()


class CSVLoggerCallback(Callback):
    """Keeps a table of all gathered jobs in a CSV file, one row per job, complete after every gather.

    The columns are ``p:<name>`` for the configuration, ``objective`` or ``objective_0``, ``objective_1`` and
    so on (``o:<key>`` or ``o:`` for general tasks), ``job_id`` (n of the job's id), ``job_status``, and
    ``m:<key>`` for the metadata. A failure fills the objective columns with its text. Constant cost per
    job, but the file is written anew when there are new columns. A file that is already there is kept
    as ``<path>.old``. A file has one writer at a time: an evaluator refuses a table that another evaluator, of this
    program or another one, is writing. If the disk is full, the rows are kept in memory and written by the next gather
    that can, or at close.

    Args:
        path: the file; its directory must exist.

    Raises:
        BadArgument: the directory is missing or not writable.
    """

    _repeats = True

    def __init__(self, path: str | os.PathLike[str] = "results.csv") -> None:
        self._writer = TableWriter(path)
        self._logged: int | None = None  # the number of the system's error since which no row could be written

    @property
    def path(self) -> str:
        """The absolute path of the file."""
        return str(self._writer.path)

    @property
    def written(self) -> int:
        """How many jobs have their row in the file."""
        return self._writer.written

    @property
    def missing(self) -> int:
        """How many gathered jobs do not have their row in the file, because it cannot be written."""
        return self._writer.missing

    def on_open(self) -> None:
        self._writer.open()

    def on_gather(self, local_jobs: list[Job[Any]], other_jobs: list[Job[Any]]) -> None:
        self._append([*local_jobs, *other_jobs])

    def on_close(self) -> None:
        try:
            self._append([])  # rows that could not be written before, because the disk was full
        finally:
            self._writer.close()
        if self.missing:
            total = self.written + self.missing
            logger.error("%d of %d rows are missing in %s.", self.missing, total, self.path)

    def _append(self, jobs: list[Job[Any]]) -> None:
        """Write these jobs, and those that wait; an error of the system is logged once, not at each gather."""
        try:
            self._writer.append(jobs)
        except OSError as error:
            if from_a_handler(error):
                raise
            if error.errno != self._logged or error.errno is None:
                self._logged = error.errno
                again = "Its rows are kept in memory; each gather, and close, tries again to write them"
                logger.error("%s cannot be written: %s. %s.", self.path, error, again)
        else:
            self._logged = None
