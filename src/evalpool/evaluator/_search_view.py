"""The read-only part of `Evaluator`: its properties, and the records and tables of its search."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool.evaluator._foreign_jobs import job_of
from evalpool.jobs._best import best
from evalpool.jobs._job import Job
from evalpool.outcomes import FINAL
from evalpool.storage._records import minimizes

if TYPE_CHECKING:
    from pathlib import Path

    from evalpool.evaluator._core import Core
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.evaluator._timeline import Timeline
    from evalpool.models import JobRecord
    from evalpool.storage import Storage

__all__ = ["SearchView"]


class SearchView:
    """The read-only properties and methods of an evaluator. All may be used from any thread."""

    _run_function: Callable[..., Any]
    _run_function_kwargs: dict[str, Any]
    _num_workers: int
    _serves: bool
    _callbacks: list[Any]
    _search: OpenSearch
    _core: Core
    _timeline: Timeline | None

    @property
    def num_workers(self) -> int:
        """How many jobs run at the same time."""
        return self._num_workers if self._timeline is None else self._timeline.num_workers

    @property
    def callbacks(self) -> list[Any]:
        """The watchers, in the order in which they are called."""
        return list(self._callbacks)

    @property
    def storage(self) -> Storage:
        """Where this evaluator's records are kept. After `close`, a storage that was given by its URL is reopened."""
        if self._core.closed:
            self._search.look_again(self)
        return self._search.storage

    @property
    def search_id(self) -> str:
        """This search's id in `storage`."""
        return self._search.search_id

    @property
    def seed(self) -> int:
        """The seed from which the jobs' seeds derive."""
        return self._search.seed

    @property
    def run_function(self) -> Callable[..., Any]:
        """The run-function."""
        return self._run_function

    @property
    def run_function_kwargs(self) -> dict[str, Any]:
        """The keyword arguments of the run-function."""
        return self._run_function_kwargs

    @property
    def job_type(self) -> str:
        """``"hpo"`` or ``"task"``."""
        return self._search.job_type

    @property
    def is_master(self) -> bool:
        """Whether this process searches. False only on the serving ranks of an MPI evaluator."""
        return not self._serves

    @property
    def num_jobs_submitted(self) -> int:
        """How many jobs were submitted to this evaluator."""
        return self._core.num_submitted

    @property
    def num_jobs_gathered(self) -> int:
        """How many jobs this evaluator has returned."""
        return self._core.num_gathered

    def __repr__(self) -> str:
        ledger = self._core.ledger
        counts = f"{len(ledger.running)} running, {len(ledger.scheduler)} waiting"
        state = "closed" if self._core.closed else counts
        return f"{type(self).__name__}(num_workers={self._num_workers}, search_id={self._search.search_id!r}, {state})"

    def best(self, n: int = 1) -> list[Job[Any]]:
        """Return the `n` best jobs of this search, best first; see `evalpool.best`. Costs the jobs of the search.

        All recorded jobs count, also those of other clients and earlier runs. For a search that is marked to be
        minimised (``evalpool run --minimize``), the smallest objective is the best.

        Raises:
            BadArgument: the storage keeps nothing, or `n` is below 1.
        """
        if self._search.own is not None:
            return self._search.own.best(n)
        jobs = [job_of(record, self._search) for record in self.results()]
        return best(jobs, n, minimize=minimizes(self.storage, self._search.search_id))

    def results(self) -> list[JobRecord]:
        """Return the records of all jobs of this search, also those of other clients, ordered by number.

        Raises:
            BadArgument: the storage keeps nothing.
        """
        return self.storage.results(self._search.search_id)

    def to_dataframe(self) -> Any:
        """Return `results` as a `pandas.DataFrame` with the columns of the tables (extra ``pandas``)."""
        from evalpool.tables._frames import frame_of

        return frame_of(self.results(), self._search.job_type)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write `results` to a CSV file, atomically; returns its absolute path."""
        from evalpool.tables._tables import write_table

        return write_table(path, self.results(), self._search.job_type)

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write `results` to a Parquet file, atomically; returns its absolute path (extra ``pandas``)."""
        from evalpool.tables._frames import write_parquet

        return write_parquet(path, self.results(), self._search.job_type)

    def dump_jobs_done_to_csv(self, log_dir: str = ".", filename: str = "results.csv", flush: bool = False) -> Path:
        """Write all jobs that have ended to ``<log_dir>/<filename>``. As `to_csv`, with the name that deephyper uses.

        Args:
            log_dir: an existing directory.
            filename: of the table.
            flush: return only when the file is on the disk, not only in the system's cache.
        """
        from evalpool.tables._tables import write_table

        done = [record for record in self.results() if record.status in FINAL]
        path = write_table(os.path.join(log_dir, filename), done, self._search.job_type)
        if flush:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        return path
