"""Learning curves: the intermediate results of a job, as it declared them, and when each happens in virtual time.

A job records its results while it is evaluated, which takes microseconds, or returns them all as a curve. Each has a
runtime from scratch, as the job itself: the one that was declared for it, or its share of the job's.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from evalpool._checks import is_real
from evalpool.errors import BadArgument
from evalpool.outcomes import Outcome
from evalpool.simulation._checkpoints import Checkpoint
from evalpool.simulation._seconds import check_runtime
from evalpool.worker._results import standardise

__all__ = ["PlacedPoint", "Point", "check_curve_key", "cut_at", "place", "points_of", "wrong"]


class Point(NamedTuple):
    """One intermediate result of a job.

    Attributes:
        budget: how much was trained: epochs, samples.
        objective: after that.
        runtime: from scratch up to here, as the job declared it, of any type; None if it did not.
    """

    budget: Any
    objective: Any
    runtime: Any = None


class PlacedPoint(NamedTuple):
    """A point with its place in virtual time.

    Attributes:
        time: when it happens.
        seconds: from scratch up to here.
        number: which of the job's points it is, from 1.
        is_end: whether the job ends here by itself, so that nothing is left to stop.
        point: the point.
    """

    time: float
    seconds: float
    number: int
    is_end: bool
    point: Point


def check_curve_key(value: Any) -> str | None:
    """Check the argument ``curve`` of `simulate` and `simulated`."""
    if value is None or (isinstance(value, str) and value):
        return value
    raise BadArgument(f"curve is {value!r}; give the key of the output that holds the learning curve, or None.")


def points_of(outcome: Outcome, key: str | None) -> list[Point]:
    """Return the points of the curve that a job returned under a key of its output; none if there is no such key.

    Raises:
        BadArgument: what is there is not a curve.
    """
    output = outcome.objective if isinstance(outcome.objective, dict) else outcome.output  # a dict: job_type="task"
    if key is None or not output or key not in output:
        return []
    curve = _as_list(output[key])
    if not isinstance(curve, (list, tuple)):
        raise _not_a_curve(key, f"is {curve!r} of type {type(curve).__name__}")
    points = []
    for number, given in enumerate(curve, 1):
        point = _as_list(given)
        if not isinstance(point, (list, tuple)) or len(point) not in (2, 3):
            raise _not_a_curve(key, f"has {given!r} at position {number}")
        points.append(Point(*point))
    return points


def _as_list(value: Any) -> Any:
    """A numpy array as a list; anything else as it is."""
    return value if isinstance(value, (list, tuple)) or not hasattr(value, "tolist") else value.tolist()


def _not_a_curve(key: str, what: str) -> BadArgument:
    return BadArgument(
        f"the result {key!r} {what}; a learning curve is a list of points (budget, objective, runtime from scratch up "
        f"to there). If {key!r} is something else, give the simulation curve=None, or the name of the curve."
    )


def wrong(points: Sequence[Point]) -> str | None:
    """Return what is wrong with the runtimes that were declared for points; None if nothing is."""
    declared = [point.runtime is not None for point in points]
    if not any(declared):
        return None
    for number, point in enumerate(points, 1):
        if not declared[number - 1]:
            return (
                f"the intermediate result {number} of {len(points)}, at the budget {point.budget!r}, has no runtime, "
                "and others have one; declare one for each, or for none"
            )
        found = check_runtime(point.runtime)
        if isinstance(found, str):
            return f"the intermediate result {number} of {len(points)}, at the budget {point.budget!r}: {found}"
    return None


def place(
    points: Sequence[Point], start: float, charged: float, total: float, resumed: Checkpoint | None
) -> list[PlacedPoint]:
    """Return the points of a job that happen, with their virtual times, in order.

    A point is never before the one before it, nor after the job's end; noise in a table may say otherwise. Only a job
    that is ended at its time limit has later ones, and they do not happen. A job that continues another one makes only
    the points beyond that one's fidelity.

    Args:
        points: valid ones, as by `wrong`.
        start: when the job starts.
        charged: the seconds that it runs.
        total: its runtime from scratch.
        resumed: what it continues; budgets are in the unit of the fidelity then.
    """
    before = 0.0 if resumed is None else resumed.total
    end, whole = start + charged, max(0.0, total - before)
    placed: list[PlacedPoint] = []
    latest = 0.0
    for number, (point, found) in enumerate(zip(points, _seconds(points, start, total), strict=True), 1):
        latest = seconds = max(latest, min(found, total))
        if resumed is not None and is_real(point.budget) and point.budget <= resumed.fidelity:
            continue
        after = max(0.0, seconds - before)
        if charged < whole and after > charged:
            break
        is_end = number == len(points) and after >= whole
        placed.append(PlacedPoint(min(start + after, end), seconds, number, is_end, point))
    return placed


def _seconds(points: Sequence[Point], start: float, total: float) -> list[float]:
    """Return the runtime from scratch up to each point.

    If they are not declared, the job is assumed to use its budget (epochs, samples) evenly, and to make its last point
    at its end. If the budgets are not increasing and above 0, the points' numbers are used instead.
    """
    if points and points[0].runtime is not None:
        return [float(point.runtime) for point in points]
    budgets = [point.budget for point in points]
    try:
        usable = budgets[0] > 0 and all(a < b for a, b in itertools.pairwise(budgets))
    except TypeError:
        usable = False
    if not usable:
        budgets = list(range(1, len(points) + 1))
    last, span = budgets[-1], (start + total) - start
    return [total if budget == last else span * (budget / last) for budget in budgets]


def cut_at(outcome: Outcome, key: str, runtime: Any, at: PlacedPoint, job_type: str) -> Outcome:
    """Return the outcome of a job that is stopped at a point of the curve that it returned.

    It is what the job would have returned there: the point's objective and runtime, and the curve up to there.

    Args:
        outcome: of the whole job.
        key: of the curve.
        runtime: the key of the runtime, or a function.
        at: the point.
        job_type: of the evaluator.
    """
    output = outcome.objective if isinstance(outcome.objective, dict) else outcome.output
    assert output is not None
    told = {**output, key: list(_as_list(output[key])[: at.number]), "objective": at.point.objective}
    if isinstance(runtime, str) and runtime in told:
        told[runtime] = at.seconds
    ended = standardise(told, job_type, outcome.metadata, outcome.start or 0.0, outcome.end or 0.0, outcome.worker)
    return ended._replace(stopped_early=True)  # as a run-function that saw the request and returned
