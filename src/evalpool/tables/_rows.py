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

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from evalpool.jobs._options import NO_OPTIONS
from evalpool.outcomes import last_line

if TYPE_CHECKING:
    from evalpool.jobs._job import Job
    from evalpool.models import JobRecord

__all__ = ["Columns", "Row", "Shape", "is_task", "row_of", "table_of"]

ALWAYS = ("timestamp_submit", "timestamp_start", "timestamp_end", "timestamp_gather", "worker")
"""Metadata that has a column even if no job has a value."""


class Row(NamedTuple):
    """One job, sorted into the groups of columns.

    Attributes:
        configuration: name -> value.
        result: column -> value; None if the job has no result.
        failure: the text in place of the result; None if there is a result.
        number: n of the job's id.
        status: the name of its `JobStatus`.
        metadata: key -> value. Keys that begin with an underscore have no column.
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
        kind = known.kind
    else:
        metadata, outcome = known.metadata, known._outcome
        stopped_early, kind = (None, None) if outcome is None else (outcome.stopped_early, outcome.kind)
    facts: dict[str, Any] = {}
    if stopped_early is not None:
        facts["stopped_early"] = stopped_early
    if kind is not None and (reason := last_line(known.error)):
        facts["error"] = reason
    options = known.options
    if options is not NO_OPTIONS:
        facts.update(options.chosen())
    if facts:
        metadata = {**facts, **metadata}
    if kind is not None:
        result, failure = None, str(known.objective)
    else:
        result, failure = _result(known, job_type), None
    return Row(args, result, failure, known.number, known.status._name_, metadata)


def _result(job: Any, job_type: str | None) -> dict[str, Any]:
    objective = job.objective
    if not is_task(job, job_type):
        # A job that still runs has no objective yet: its cells stay empty.
        if isinstance(objective, (tuple, list)):
            return {f"objective_{i}": value for i, value in enumerate(objective)}
        return {"objective": objective}
    output = job.output if job.output is not None else objective
    if isinstance(output, dict):
        return {f"o:{key}": value for key, value in output.items()}
    return {"o:": output}


def _metadata_of_record(record: Any) -> dict[str, Any]:
    metadata = dict(record.metadata)
    for name in (*ALWAYS, "host", "pid"):
        value = getattr(record, name)
        if value is not None:
            metadata[name] = value
    return metadata


MOST_SHAPES = 256
"""Of so many different sets of names is known which value stands in which column."""

Shape: TypeAlias = tuple[tuple[str, ...], tuple[str, ...] | None, tuple[str, ...]]
"""The names in a row's configuration, its result and its metadata."""


class Columns:
    """The columns of a table, learned from its rows.

    The rows of a search mostly have the same names. What stands in which column is found out once for all rows with the
    same names.
    """

    def __init__(self) -> None:
        self._configuration: dict[str, None] = {}
        self._result: dict[str, None] = {}
        self._metadata: dict[str, None] = dict.fromkeys(f"m:{name}" for name in ALWAYS)
        self._task = False
        self._layouts: dict[Shape, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {}
        self.names: tuple[str, ...] = ()
        """In their order in the table; empty before the first row."""

    def learn(self, row: Row, task: bool = False) -> Shape:
        """Add the columns of `row`, so that `values` and `cells` of it have their place. Return its shape."""
        if (shape := _shape_of(row)) in self._layouts:
            return shape
        # A failure does not show how many objectives there are: there is one column until the first result.
        configuration, result, metadata = _columns_of(shape)
        self._configuration.update(dict.fromkeys(configuration))
        self._result.update(dict.fromkeys(result))
        self._metadata.update(dict.fromkeys(name for name in metadata if name is not None))
        self._task = task
        names = (*self._configuration, *self.results, "job_id", "job_status", *self._metadata)
        if names != self.names or len(self._layouts) >= MOST_SHAPES:
            self._layouts = {}
        self.names = names
        self._layouts[shape] = itemgetter(*self._places(shape))
        return shape

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
        """Column -> value for one row that was learned; columns without a value, or with None, are missing."""
        cells = self.cells(row, _shape_of(row))
        return {name: value for name, value in zip(self.names, cells, strict=True) if value is not None}

    def cells(self, row: Row, shape: Shape) -> tuple[Any, ...]:
        """The value in each column, in their order, for one row that was learned; None where it has none."""
        layout = self._layouts.get(shape) or itemgetter(*self._places(shape))
        return layout(_values_of(row))

    def _places(self, shape: Shape) -> list[int]:
        """For each column, where its value stands in the `_values_of` a row of this shape."""
        configuration, result, metadata = _columns_of(shape)
        written = (*configuration, *result, "job_id", "job_status", *metadata)
        place = {name: index for index, name in enumerate(written) if name is not None}
        failure, absent = len(written), len(written) + 1
        if shape[1] is None:
            place.update(dict.fromkeys(self.results, failure))
        elif "objective" in place and "objective_0" in self._result:
            place["objective_0"] = place["objective"]  # one number in a search with several objectives
        return [place.get(name, absent) for name in self.names]


def _shape_of(row: Row) -> Shape:
    return tuple(row.configuration), None if row.result is None else tuple(row.result), tuple(row.metadata)


def _columns_of(shape: Shape) -> tuple[list[str], tuple[str, ...], list[str | None]]:
    """The columns of a row's configuration, its result and its metadata; None for metadata without a column."""
    configuration, result, metadata = shape
    return (
        [f"p:{name}" for name in configuration],
        result or (),
        [None if key.startswith("_") else f"m:{key}" for key in metadata],
    )


def _values_of(row: Row) -> tuple[Any, ...]:
    """All values of a row; behind them its failure, and what stands in a column of which it has no value."""
    configuration, result, failure, number, status, metadata = row
    return (*configuration.values(), *(result or {}).values(), number, status, *metadata.values(), failure, None)


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
