"""The columns of a table of jobs, their order, and the values of each row.

There is one row per job, for CSV files, data frames and plots alike::

    p:<name> ...  |  objective            |  job_id  |  job_status  |  m:<key> ...
                  |  objective_0 ... k-1  |          |              |
                  |  o:  or  o:<key> ...  |          |              |
    configuration    result                  number     text           metadata without "_..."

evalpool itself adds ``m:stopped_early`` if there is a stopper, ``m:error``, the last line of the error, from the first
failure on, and ``m:priority``, ``m:job_timeout`` and ``m:tags`` if a job's option is not the default. If a
run-function's own metadata has one of these names, its value is used.

The result is one column for a search with one objective, k columns for k objectives; for general tasks one
column per key of a returned dict, or ``o:``. A job without a result fills every result column with its
text (``F_ValueError``), also those columns that are discovered later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool.jobs._options import NO_OPTIONS
from evalpool.outcomes import last_line

if TYPE_CHECKING:
    from evalpool.jobs._job import Job
    from evalpool.models import JobRecord

__all__ = ["Columns", "Row", "is_task", "row_of", "table_of"]

ALWAYS = ("timestamp_submit", "timestamp_start", "timestamp_end", "timestamp_gather", "worker")
"""Metadata that has a column even if no job has a value."""


class Row(NamedTuple):
    """One job, sorted into the groups of columns.

    Attributes:
        configuration: with ``p:`` before each name.
        result: column -> value; None if the job has no result.
        failure: the text in place of the result; None if there is a result.
        number: n of the job's id.
        status: the name of its `JobStatus`.
        metadata: with ``m:`` before each key.
    """

    configuration: dict[str, Any]
    result: dict[str, Any] | None
    failure: str | None
    number: int
    status: str
    metadata: dict[str, Any]


def row_of(job: Job[Any] | JobRecord, job_type: str | None = None) -> Row:
    """Sort what is known about a job into columns; the cost depends on the size of the job.

    Args:
        job: a job or the record of one.
        job_type: ``"hpo"`` or ``"task"``; None takes the job's own type, ``"hpo"`` for a record.
    """
    known: Any = job
    args: dict[str, Any] | None = getattr(known, "args", None)
    if args is None:
        args, metadata = known.configuration, _metadata_of_record(known)
        stopped_early = known.stopped_early if "stopped_early" in known.model_fields_set else None
    else:
        metadata, outcome = known.metadata, known._outcome
        stopped_early = None if outcome is None else outcome.stopped_early
    facts: dict[str, Any] = {}
    if stopped_early is not None:
        facts["stopped_early"] = stopped_early
    if known.kind is not None and (reason := last_line(known.error)):
        facts["error"] = reason
    options = known.options
    if options is not NO_OPTIONS:
        facts.update(options.chosen())
    if facts:
        metadata = {**facts, **metadata}
    result, failure = _result(known, is_task(known, job_type))
    return Row(
        {f"p:{key}": value for key, value in args.items()},
        result,
        failure,
        known.number,
        known.status.name,
        {f"m:{key}": value for key, value in metadata.items() if not key.startswith("_")},
    )


def _result(job: Any, task: bool) -> tuple[dict[str, Any] | None, str | None]:
    objective = job.objective
    if job.kind is not None:
        return None, str(objective)
    if not task:
        # A job that still runs has no objective yet: its cells stay empty.
        if isinstance(objective, (tuple, list)):
            return {f"objective_{i}": value for i, value in enumerate(objective)}, None
        return {"objective": objective}, None
    output = job.output if job.output is not None else objective
    if isinstance(output, dict):
        return {f"o:{key}": value for key, value in output.items()}, None
    return {"o:": output}, None


def _metadata_of_record(record: Any) -> dict[str, Any]:
    metadata = dict(record.metadata)
    for name in (*ALWAYS, "host", "pid"):
        value = getattr(record, name)
        if value is not None:
            metadata[name] = value
    return metadata


class Columns:
    """The columns of a table, learned from its rows."""

    def __init__(self) -> None:
        self._configuration: dict[str, None] = {}
        self._result: dict[str, None] = {}
        self._metadata: dict[str, None] = dict.fromkeys(f"m:{name}" for name in ALWAYS)
        self._task = False
        self.names: tuple[str, ...] = ()
        """In their order in the table; empty before the first row."""

    def learn(self, row: Row, task: bool = False) -> bool:
        """Add the columns of `row`; return whether the table's columns changed."""
        known = True
        # A failure does not show how many objectives there are: there is one column until the first result.
        groups = ((row.configuration, self._configuration), (row.result or {}, self._result))
        for given, columns in (*groups, (row.metadata, self._metadata)):
            if not given.keys() <= columns.keys():
                columns.update(dict.fromkeys(given))
                known = False
        if known and self.names:
            return False
        self._task = task
        names = (*self._configuration, *self.results, "job_id", "job_status", *self._metadata)
        changed, self.names = names != self.names, names
        return changed

    @property
    def results(self) -> tuple[str, ...]:
        """The columns of the result: either one objective, or the numbered ones in order."""
        if not self._result:
            return ("o:",) if self._task else ("objective",)
        if self._task:
            return tuple(self._result)
        numbered = [name for name in self._result if name != "objective"]
        return tuple(sorted(numbered, key=lambda name: int(name[10:]))) or ("objective",)

    def values(self, row: Row) -> dict[str, Any]:
        """Column -> value for one row that was learned; columns without a value are missing."""
        if row.result is None:
            result = dict.fromkeys(self.results, row.failure)
        elif "objective" in row.result and "objective_0" in self._result:
            result = {"objective_0": row.result["objective"]}  # one number in a search with several objectives
        else:
            result = row.result
        return {
            **row.configuration,
            **result,
            "job_id": row.number,
            "job_status": row.status,
            **row.metadata,
        }


def is_task(job: Any, job_type: str | None) -> bool:
    """Whether a job is a general task, whose outputs are columns."""
    return (job_type or getattr(job, "job_type", "hpo")) == "task"


def table_of(
    jobs: Iterable[Job[Any] | JobRecord], job_type: str | None = None
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Return the columns and one dict of values per job; columns without a value are missing in the dict."""
    columns, rows = Columns(), []
    for job in jobs:
        row = row_of(job, job_type)
        columns.learn(row, is_task(job, job_type))
        rows.append(row)
    return columns.names, [columns.values(row) for row in rows]
