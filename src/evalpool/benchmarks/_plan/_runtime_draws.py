"""Runtimes for a plan: declared, drawn from a distribution, or those of jobs that ran."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from itertools import count, repeat
from typing import TYPE_CHECKING, Any

from evalpool._checks import is_real
from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._columns import Columns, is_frame, read_columns
from evalpool.benchmarks._runtime_model import RuntimeModel
from evalpool.errors import BadArgument
from evalpool.outcomes import JobStatus
from evalpool.search._random_search import RandomSearch
from evalpool.simulation._distribution import Distribution
from evalpool.simulation._seconds import check_runtime
from evalpool.storage._base import Storage
from evalpool.storage._registry import create, storage_from_url
from evalpool.tables._rows import table_of

if TYPE_CHECKING:
    import pandas

    from evalpool.jobs._job import Job
    from evalpool.models import JobRecord

__all__ = ["RuntimeDraws", "recorded_runtimes"]

SQLITE = b"SQLite format 3\0"
"""How each file of SQLite begins."""
FORMS = (
    "give seconds, a RuntimeModel, a Benchmark, a Distribution, a list of seconds, a function of a random.Random, jobs "
    "or records, a storage, its URL or its path, or a table of jobs, or one with a column runtime, in seconds: a "
    "pandas.DataFrame or the path of a CSV file"
)


class RuntimeDraws:
    """The runtime of each job by its number: the same for the same seed, however many workers there are.

    Args:
        runtimes: as for `plan`.
        seed: of what is drawn.

    Raises:
        BadArgument: `runtimes` is of no known form, or holds no runtime.
    """

    def __init__(self, runtimes: Any, seed: int) -> None:
        self._source = _source(runtimes)
        self._more = _stream(self._source, seed)
        self._drawn: list[float] = []

    def __call__(self, job: int) -> float:
        drawn = self._drawn
        while job >= len(drawn):
            seconds = check_runtime(next(self._more))
            if isinstance(seconds, str):
                raise BadArgument(f"Of job {len(drawn)} of a plan, {seconds}.")
            drawn.append(seconds)
        return drawn[job]

    def again(self, seed: int) -> RuntimeDraws:
        """Return other draws from the same runtimes."""
        return RuntimeDraws(self._source, seed)

    def mean(self, jobs: int = 1000) -> float:
        """The mean of the first runtimes."""
        return sum(map(self, range(jobs))) / jobs


def _source(runtimes: Any) -> Any:
    """Check what was given; return it, or the seconds that are in it as a list."""
    if isinstance(runtimes, Benchmark) and not runtimes.has_runtimes:
        raise BadArgument(f"{runtimes!r} has no runtimes; give it some by with_runtime, or give the plan others.")
    if is_real(runtimes) or isinstance(runtimes, (RuntimeModel, Distribution)) or callable(runtimes):
        return runtimes
    if isinstance(runtimes, Iterable) and not isinstance(runtimes, (str, Storage)) and not is_frame(runtimes):
        runtimes = list(runtimes)
        if runtimes and all(map(is_real, runtimes)):
            return runtimes
    return recorded_runtimes(runtimes)


def _stream(source: Any, seed: int) -> Iterator[Any]:
    rng = random.Random(seed)
    if is_real(source):
        return repeat(source)
    if isinstance(source, RuntimeModel):
        return (source.seconds({"job": number, "draw": seed}) for number in count())
    if isinstance(source, Distribution):
        return (source.draw("runtime", seed, number) for number in count())
    if isinstance(source, Benchmark):
        search = RandomSearch(source, seed)
        return (_runtime_of(source(search.ask())) for _ in count())
    if callable(source):
        return (source(rng) for _ in count())
    return _shuffled(source, rng)


def _runtime_of(told: dict[str, Any]) -> Any:
    """The runtime in what a benchmark tells, of any type; that of a failure is in its metadata."""
    return told.get("runtime", (told.get("metadata") or {}).get("runtime"))


def _shuffled(seconds: list[float], rng: random.Random) -> Iterator[float]:
    """All of them in a random order, again and again: so many draws as there are have exactly their mean."""
    order = list(seconds)
    while True:
        rng.shuffle(order)
        yield from order


def _storage_at(path: str) -> Storage | None:
    """The storage at a path: a file of SQLite or the directory of a journal; None if there is none."""
    if os.path.isdir(path):
        return create("journal", {"directory": path}) if os.listdir(path) else None
    if os.path.isfile(path):
        with open(path, "rb") as file:
            if file.read(len(SQLITE)) == SQLITE:
                return create("sqlite", {"path": path})
    return None


def recorded_runtimes(
    source: Storage | Iterable[Job[Any] | JobRecord] | pandas.DataFrame | str | os.PathLike[str],
) -> list[float]:
    """Return how many seconds the jobs of a search ran, of those that ended by themselves.

    Args:
        source: a storage, its URL, or the path of its SQLite file or journal (its latest search); jobs or records; or a
            table, as a `pandas.DataFrame` or the path of a CSV file: one of jobs, as evalpool writes them, or any with
            a column ``runtime``, in seconds.

    Raises:
        BadArgument: it is none of these, or no job in it has ended.
        UnknownSearch: the storage holds no search.
    """
    if isinstance(source, str) and "://" in source:
        with storage_from_url(source) as storage:
            return recorded_runtimes(storage)
    if isinstance(source, (str, os.PathLike)) and (found_there := _storage_at(os.fspath(source))) is not None:
        with found_there as storage:
            return recorded_runtimes(storage)
    if isinstance(source, (str, os.PathLike)) or is_frame(source):
        columns = read_columns(source)
        if "job_id" not in columns.values:
            return _of_column(columns)
        rows = [dict(zip(columns.values, cells, strict=True)) for cells in zip(*columns.values.values(), strict=True)]
    else:
        try:
            rows = table_of(source.results() if isinstance(source, Storage) else source)[1]
        except (TypeError, AttributeError):
            raise BadArgument(f"runtimes is {source!r} of type {type(source).__name__}; {FORMS}.") from None
    found = []
    for row in rows:
        start, end = row.get("m:timestamp_start"), row.get("m:timestamp_end")
        if start is not None and end is not None and row.get("job_status") != JobStatus.CANCELLED.name:
            found.append(max(0.0, end - start))
    if not found:
        raise BadArgument(f"Of {len(rows)} jobs none has a start and an end, so there are no runtimes; {FORMS}.")
    return found


def _of_column(columns: Columns) -> list[float]:
    """The column ``runtime`` of a table that is not one of jobs."""
    if "runtime" not in columns.values:
        raise BadArgument(
            f"{columns.source} is no table of jobs, and has no column 'runtime' with seconds; it has "
            f"{', '.join(map(repr, columns.values))}. Rename that of the runtimes, or give a Benchmark.from_table(..., "
            "runtime='minutes', runtime_unit='min')."
        )
    columns.check_numbers("runtime", "the runtime", 0.0)
    return [float(value) for value in columns.values["runtime"]]
