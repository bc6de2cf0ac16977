"""Writes each job into a CSV file as it is gathered."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from evalpool.callbacks._base import Callback
from evalpool.tables._tables import TableWriter

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["CSVLoggerCallback"]


class CSVLoggerCallback(Callback):
    """Keeps a table of all gathered jobs in a CSV file, one row per job, complete after every gather.

    The columns are ``p:<name>`` for the configuration, ``objective`` or ``objective_0``, ``objective_1`` and
    so on (``o:<key>`` or ``o:`` for general tasks), ``job_id`` (n of the job's id), ``job_status``, and
    ``m:<key>`` for the metadata. A failure fills the objective columns with its text. Constant cost per
    job, but the file is written anew when there are new columns. A file that is already there is kept
    as ``<path>.old``. A file has one writer at a time: an evaluator refuses a table that another evaluator, of this
    program or another one, is writing.

    Args:
        path: the file; its directory must exist.

    Raises:
        BadArgument: the directory is missing or not writable.
    """

    _repeats = True

    def __init__(self, path: str | os.PathLike[str] = "results.csv") -> None:
        self._writer = TableWriter(path)

    @property
    def path(self) -> str:
        """The absolute path of the file."""
        return str(self._writer.path)

    def on_open(self) -> None:
        self._writer.open()

    def on_gather(self, local_jobs: list[Job[Any]], other_jobs: list[Job[Any]]) -> None:
        self._writer.append([*local_jobs, *other_jobs])

    def on_close(self) -> None:
        try:
            self._writer.append([])  # rows that could not be written before, because the disk was full
        finally:
            self._writer.close()
