"""The best of some jobs: those with the largest objectives, or the front that no other dominates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from evalpool._checks import as_float
from evalpool.errors import BadArgument

__all__ = ["best"]

JobT = TypeVar("JobT")
"""A job or the record of one."""


def best(jobs: Iterable[JobT], n: int = 1, *, minimize: bool = False) -> list[JobT]:
    """Return the `n` best jobs, best first; with several objectives, all jobs that no other dominates, for any `n`.

    Failures, jobs without an outcome, and jobs that a stopper ended early, whose objectives are partial, are left out.
    Of equal jobs the earlier comes first; a front is sorted by its first objective. Jobs with another number of
    objectives than the first are left out. O(m log m) for m jobs; with several objectives O(m f) for a front of f.

    Args:
        jobs: jobs or records.
        n: how many at the most.
        minimize: whether smaller objectives are better; evalpool's searches maximise.

    Raises:
        BadArgument: `n` is not a whole number of at least 1, or `jobs` are not jobs.

    >>> from evalpool import Evaluator
    >>> with Evaluator.create(lambda job: 1 / job["x"]) as evaluator:
    ...     jobs = evaluator.submit([{"x": x} for x in range(4)])
    ...     best(evaluator.gather())
    [Job(id='0.1', status=DONE, args={'x': 1}, objective=1.0)]
    """
    if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
        raise BadArgument(f"n is {n!r}; give a whole number of at least 1.")
    if not isinstance(jobs, Iterable):
        raise BadArgument(f"jobs is of type {type(jobs).__name__}; give a list of jobs, as gather returns it.")
    candidates: list[tuple[tuple[float, ...], JobT]] = []
    for job in jobs:
        values = _values(job)
        if values is not None and (not candidates or len(values) == len(candidates[0][0])):
            candidates.append((values, job))
    if candidates and len(candidates[0][0]) > 1:
        candidates = _front(candidates, minimize)
        n = len(candidates)
    candidates.sort(key=lambda one: one[0][0], reverse=not minimize)  # a reversed sort is stable, too
    return [job for _, job in candidates[: int(n)]]


def _values(job: Any) -> tuple[float, ...] | None:
    """The objectives of a job; None for one that is not compared."""
    try:
        objective, kind, early = job.objective, job.kind, job.stopped_early
    except AttributeError:
        raise BadArgument(f"{job!r} is not a job; give a list of jobs, as gather returns it.") from None
    if kind is not None or early:
        return None
    values = objective if isinstance(objective, (tuple, list)) else (objective,)
    # Not by math.isnan: a whole number may be larger than any float.
    good = all(isinstance(value, (int, float)) and value == value for value in values)
    return tuple(values) if good and values else None


def _front(candidates: list[tuple[tuple[float, ...], JobT]], minimize: bool) -> list[tuple[tuple[float, ...], JobT]]:
    from evalpool.jobs._hypervolume import Front

    sign = -1.0 if minimize else 1.0
    points = [tuple(sign * as_float(value) for value in values) for values, _ in candidates]
    front = Front()
    for point in points:
        front.add(point)
    kept = set(map(tuple, front.points.tolist()))
    return [candidate for candidate, point in zip(candidates, points, strict=True) if point in kept]
