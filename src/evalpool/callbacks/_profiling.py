"""The times at which each worker was busy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool._checks import check_number
from evalpool.callbacks._base import Callback
from evalpool.errors import MissingExtra
from evalpool.jobs._utilisation import Interval, Utilisation, busy_workers, lane_of

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["ProfilingCallback"]


class ProfilingCallback(Callback):
    """Keeps the times at which each worker of this evaluator was busy, from the jobs' own timestamps.

    Only jobs that ran and were gathered are included. Constant cost per job; the profile is computed when you ask
    for it.

    Args:
        num_workers: the number of workers to which the utilisation refers; None takes the workers that appear.
    """

    def __init__(self, num_workers: int | None = None) -> None:
        self._num_workers = None if num_workers is None else check_number("num_workers", num_workers, 1)
        self._intervals: list[Interval] = []

    def on_done(self, job: Job[Any]) -> None:
        metadata = job.metadata
        start, end = metadata.get("timestamp_start"), metadata.get("timestamp_end")
        if start is not None and end is not None:
            worker = lane_of(metadata.get("worker"), metadata.get("virtual_worker")) or "?"
            self._intervals.append(Interval(worker, start, end, job.id, job.kind is not None))

    @property
    def intervals(self) -> list[Interval]:
        """One ``(worker, start, end, job_id, failed)`` per job that ran; seconds since the search's start."""
        return list(self._intervals)

    @property
    def profile(self) -> Utilisation:
        """The columns ``timestamp, n_jobs_running, utilisation``, one row per change; O(n log n)."""
        return busy_workers(self._intervals, self._num_workers)

    def to_dataframe(self) -> Any:
        """`profile` as a pandas data frame.

        Raises:
            MissingExtra: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra.of("A data frame needs pandas", "pandas") from error
        return pandas.DataFrame(self.profile._asdict())
