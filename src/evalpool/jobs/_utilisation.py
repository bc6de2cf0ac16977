"""The number of busy workers over time: a step function made from intervals of work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Interval", "Utilisation", "busy_workers", "lane_of"]


class Interval(NamedTuple):
    """The time in which a worker was busy with a job; seconds since the search's start."""

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
        """The mean utilisation from the first start to the last end; 0.0 if nothing ran."""
        span = self.timestamp[-1] - self.timestamp[0] if self.timestamp else 0.0
        if span <= 0:
            return 0.0
        steps = zip(self.timestamp, self.timestamp[1:], self.utilisation, strict=False)
        return sum((after - at) * busy for at, after, busy in steps) / span


def busy_workers(intervals: Iterable[Interval], num_workers: int | None = None) -> Utilisation:
    """Count the running jobs at each time at which their number changes; O(n log n).

    Args:
        num_workers: the number of workers; None takes those that appear.
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
    """The name of the worker on whose line a job's bar is: the virtual worker if time is simulated."""
    return worker if virtual_worker is None else f"virtual-{virtual_worker}"
