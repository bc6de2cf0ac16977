"""One reader for everything that holds jobs; it makes rows with the columns of the tables, for all plots.

CSV file ──────────────► read_table ─┐
storage, evaluator ──► results() ──► table_of ──► Rows ──► a plot
jobs, records ───────────────────────┘        │
SimulationResult ─► trace, objectives ────────┘
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard

from evalpool._checks import is_real
from evalpool.errors import BadArgument
from evalpool.jobs._utilisation import lane_of
from evalpool.outcomes import JobStatus
from evalpool.storage._base import Storage
from evalpool.storage._records import minimizes
from evalpool.storage._registry import storage_from_url
from evalpool.tables._rows import table_of
from evalpool.tables._tables import read_table

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.jobs._job import Job
    from evalpool.models import JobRecord
    from evalpool.simulation import SimulationResult

    Source: TypeAlias = Storage | Evaluator | SimulationResult | Iterable[Job[Any] | JobRecord] | str | os.PathLike[str]

__all__ = [
    "Evaluations", "Row", "ended", "has_ended", "is_number", "is_partial", "is_source", "kind_of", "natural",
    "read_rows", "worker_of",
]  # fmt: skip

Row: TypeAlias = "dict[str, Any]"


def read_rows(source: Source) -> list[Row]:
    """One dict per job with the columns of the tables; a storage, or its URL, gives those of its latest search.

    Raises:
        BadArgument: `source` is not of a kind that holds jobs, or is a file that cannot be read as a table.
        UnknownSearch: the storage holds no search.
    """
    if _is_url(source):
        with storage_from_url(source) as storage:
            return read_rows(storage)
    if isinstance(source, (str, os.PathLike)):
        try:
            return _drawable(read_table(source))
        except UnicodeDecodeError:
            raise BadArgument(
                f"{os.fspath(source)!r} is not a CSV file; open a storage first: SQLiteStorage({os.fspath(source)!r})."
            ) from None
    given: Any = source
    if callable(getattr(given, "results", None)):
        given = given.results()
    elif hasattr(given, "trace") and hasattr(given, "completions"):
        return _drawable(_simulated_rows(given))
    try:
        return _drawable(table_of(given)[1])
    except (TypeError, AttributeError):
        raise BadArgument(
            f"source is of type {type(source).__name__}; give a storage, an evaluator, a list of jobs or records, "
            "what simulate returned, or the path of a CSV file."
        ) from None


def _drawable(rows: list[Row]) -> list[Row]:
    """The same rows, with infinities, which are not drawn, in place of numbers that axes cannot show."""
    for row in rows:
        for name, value in row.items():
            if type(value) in (int, float) and not -_LARGEST <= value <= _LARGEST and value == value:
                row[name] = math.inf if value > 0 else -math.inf
    return rows


_LARGEST = 1e300


def is_source(value: Any) -> bool:
    """Whether this holds the jobs of one search, and is not a collection of such sources."""
    if isinstance(value, (str, os.PathLike)) or hasattr(value, "results") or hasattr(value, "completions"):
        return True
    first = next(iter(value), None) if isinstance(value, (list, tuple)) else None
    return hasattr(first, "status") and hasattr(first, "objective")


def _simulated_rows(result: SimulationResult) -> list[Row]:
    rows = []
    for told, objective in zip(result.completions, result.objectives, strict=True):
        values = objective if isinstance(objective, tuple) else (objective,)
        names = ["objective"] if len(values) == 1 else [f"objective_{i}" for i in range(len(values))]
        rows.append(
            {
                **{f"p:{name}": value for name, value in result.configurations[told["job"]].items()},
                **dict(zip(names, values, strict=True)),
                "job_id": told["job"],
                "job_status": told["status"],
                "m:timestamp_start": told["start"],
                "m:timestamp_end": told["end"],
                "m:virtual_worker": told["worker"],
            }
        )
    return rows


class Evaluations(NamedTuple):
    """The jobs that were evaluated (not cancelled), in the order in which they ended.

    Attributes:
        rows: one dict per job.
        objectives: the names of the columns of the objectives, in order.
        minimize: whether smaller objectives are better.
    """

    rows: list[Row]
    objectives: list[str]
    minimize: bool

    @classmethod
    def of(cls, source: Source, *, timed: bool = False, minimize: bool | None = None) -> Evaluations:
        """Read the evaluations of a source.

        If rows have no times, they stay in the order of the source; with `timed` such rows are left out. If `minimize`
        is None, the direction is what a storage or an evaluator has recorded for its search, else maximising.
        """
        ran = (JobStatus.DONE.name, JobStatus.FAILED.name)
        rows = [row for row in read_rows(source) if row["job_status"] in ran and (has_ended(row) or not timed)]
        if all(map(has_ended, rows)):
            rows.sort(key=ended)
        names = {name for row in rows for name in row if name.startswith("objective")}
        return cls(rows, sorted(names, key=natural), _minimizes(source) if minimize is None else minimize)

    def succeeded(self, row: Row) -> bool:
        """Whether a row has a number for each objective, and was not stopped early."""
        numbers = bool(self.objectives) and all(is_number(row.get(name)) for name in self.objectives)
        return numbers and not is_partial(row)

    @property
    def better(self) -> str:
        """Which objectives are better, for the label of an axis."""
        return "smaller is better" if self.minimize else "larger is better"


def is_partial(row: Row) -> bool:
    """Whether a stopper ended the job, so that its objective is a partial one."""
    return row.get("m:stopped_early") is True


def _is_url(source: Any) -> TypeGuard[str]:
    """Whether a text is the URL of a storage, and not a path."""
    return isinstance(source, str) and "://" in source


def _minimizes(source: Any) -> bool:
    if _is_url(source):
        with storage_from_url(source) as opened:
            return _minimizes(opened)
    storage = getattr(source, "storage", source)
    if not isinstance(storage, Storage):
        return False
    return minimizes(storage, storage.latest_search() if storage is source else source.search_id)


def has_ended(row: Row) -> bool:
    """Whether the end of a job is known. A job that was cancelled before it ran has no end."""
    return row.get("m:timestamp_end") is not None


def ended(row: Row) -> float:
    """The end of a job, in seconds since the search's start."""
    return float(row["m:timestamp_end"])


def kind_of(row: Row) -> str:
    """The outcome of a job: "done", "failed" or "cancelled"."""
    if row["job_status"] == JobStatus.CANCELLED.name:
        return "cancelled"
    failed = row["job_status"] == JobStatus.FAILED.name or any(
        name.startswith("objective") and not is_number(value) for name, value in row.items()
    )
    return "failed" if failed else "done"


def worker_of(row: Row) -> str:
    """The worker on whose line the job's bar is: the virtual worker if time was simulated."""
    return str(lane_of(row.get("m:worker"), row.get("m:virtual_worker")) or "?")


def is_number(value: Any) -> bool:
    """Whether a value is a number, which can be drawn."""
    return is_real(value)


def natural(name: str) -> list[Any]:
    """A key for sorting that puts worker-10 after worker-9."""
    parts = re.split(r"([0-9]+)", name)
    parts[1::2] = [digits.lstrip("0") for digits in parts[1::2]]
    # Not int(digits), which refuses very many digits: of two numbers the longer one is larger.
    return [(0, len(part), part) if index % 2 else (1, 0, part) for index, part in enumerate(parts)]
