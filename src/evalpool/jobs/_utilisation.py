"""How many workers were busy when: intervals of work turned into a step function."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Interval", "Utilisation", "busy_workers", "lane_of"]


class Interval(NamedTuple):
    """A worker was busy with a job; seconds since the search's start."""

    worker: str
    start: float
    end: float
    job_id: str
    failed: bool


class Utilisation(NamedTuple):
    """A step function: from ``timestamp[i]`` on, until the next, ``n_jobs_running[i]`` jobs ran.

    `utilisation` is their share of the workers, between 0 and 1 unless a worker ran several at a time.
    """

    timestamp: list[float]
    n_jobs_running: list[int]
    utilisation: list[float]

    @property
    def mean(self) -> float:
        """Over the time from the first start to the last end; 0.0 if nothing ran."""
        span = self.timestamp[-1] - self.timestamp[0] if self.timestamp else 0.0
        if span <= 0:
            return 0.0
        steps = zip(self.timestamp, self.timestamp[1:], self.utilisation, strict=False)
        return sum((after - at) * busy for at, after, busy in steps) / span


def busy_workers(intervals: Iterable[Interval], num_workers: int | None = None) -> Utilisation:
    """Count what runs at each moment at which that changes; O(n log n).

    Args:
        num_workers: how many there are; None takes those that appear.
    """
    changes: dict[float, int] = {}
    workers: set[str] = set()
    for worker, start, end, _, _ in intervals:
        workers.add(worker)
        changes[start] = changes.get(start, 0) + 1
        changes[end] = changes.get(end, 0) - 1
    count = num_workers or len(workers) or 1
    timestamps = sorted(changes)
    running, total = [], 0
    for timestamp in timestamps:
        total += changes[timestamp]
        running.append(total)
    return Utilisation(timestamps, running, [n / count for n in running])


def lane_of(worker: str | None, virtual_worker: int | None) -> str | None:
    """Whose line a job's bar is on: that of the virtual worker where time is simulated, else of the worker."""
    return worker if virtual_worker is None else f"virtual-{virtual_worker}"
