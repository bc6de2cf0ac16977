"""A table of gathered jobs with deephyper's columns; whole after every gather."""

from __future__ import annotations

import csv
import os
from typing import Any

from evalpool.compat.deephyper.evaluator._job import HPOJob

__all__ = ["CSVTable", "row_of"]


def row_of(job: Any, num_objectives: int) -> dict[str, Any]:
    """The cells of a job by column; a failure fills each of several objectives."""
    metadata = {f"m:{key}": value for key, value in job.metadata.items() if not key.startswith("_")}
    args = {f"p:{key}": value for key, value in job.args.items()}
    facts = {"job_id": int(job.id.rpartition(".")[2]), "job_status": job.status.name}
    if not isinstance(job, HPOJob):
        output = job.output if isinstance(job.output, dict) else {"": job.output}
        return {**facts, **args, **{f"o:{key}": value for key, value in output.items()}, **metadata}
    objective = job.objective
    if isinstance(objective, (tuple, list)):
        result = {f"objective_{n}": value for n, value in enumerate(objective)}
    elif num_objectives > 1:
        result = {f"objective_{n}": objective for n in range(num_objectives)}
    else:
        result = {"objective": objective}
    return {**args, **result, **facts, **metadata}


class CSVTable:
    """The rows of one file. With a new column it is written anew, beside and then in its place; else rows are added.

    Args:
        path: the file; one that is there is replaced by the first rows.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._jobs: list[Any] = []
        self._columns: dict[str, None] = {}
        self._num_objectives = 1

    def add(self, jobs: list[Any]) -> None:
        """Write these jobs."""
        if not jobs:
            return
        self._jobs += jobs
        is_new = not self._columns or not os.path.exists(self._path)
        if self._learn(jobs):
            is_new, self._columns = True, {}
        rows = self._rows(self._jobs if is_new else jobs)
        known = len(self._columns)
        for row in rows:
            self._columns.update(dict.fromkeys(row))
        if not is_new and known == len(self._columns):
            self._write(self._path, "a", rows)
        else:
            beside = f"{self._path}.new"
            self._write(beside, "w", self._rows(self._jobs))
            os.replace(beside, self._path)

    def _learn(self, jobs: list[Any]) -> bool:
        """The first success says how many objectives there are; is it news? Failures before it have had one column."""
        for job in jobs:
            objective = job.objective if isinstance(job, HPOJob) else None
            if isinstance(objective, (tuple, list)) and self._num_objectives == 1 < len(objective):
                self._num_objectives = len(objective)
                return True
        return False

    def _rows(self, jobs: list[Any]) -> list[dict[str, Any]]:
        return [row_of(job, self._num_objectives) for job in jobs]

    def _write(self, path: str, mode: str, rows: list[dict[str, Any]]) -> None:
        with open(path, mode, newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self._columns))
            if mode == "w":
                writer.writeheader()
            writer.writerows(rows)
