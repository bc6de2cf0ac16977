"""How long a job would have taken: where its runtime stands, and when its records were made."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.evaluator._job import Job
    from evalpool.outcomes import Outcome

__all__ = ["check_runtime_key", "record_times", "runtime_of"]


def check_runtime_key(value: Any) -> str | Callable[[Any, Any], Any]:
    """``runtime=`` of the simulated faces."""
    if isinstance(value, str) and value:
        return value
    if callable(value):
        found: Callable[[Any, Any], Any] = value
        return found
    raise BadArgument(
        f"runtime is {value!r}; give the key of the output or metadata that holds the seconds, or a function of "
        "(job, output)."
    )


def runtime_of(where: str | Callable[[Any, Any], Any], job: Job[Any], outcome: Outcome) -> Any:
    """What the job declares as its runtime, of whatever type; None if it declares nothing.

    A callable gets the job and its output, also of a failed job; what it raises is raised.
    """
    if callable(where):
        job._outcome = outcome
        return where(job, job.output)
    for place in (outcome.output, outcome.metadata):
        if place is not None and where in place:
            return place[where]
    value = outcome.objective  # of a general task: the dict itself
    return value.get(where) if isinstance(value, dict) else None


def record_times(records: list[tuple[float, Any]], start: float, end: float) -> list[float]:
    """When the records of a job were made in virtual time: each at its share of the runtime.

    A job's budget (epochs, samples) is taken to be spent evenly, and its last record to be made at its end. Budgets
    that do not grow from above 0 are replaced by the records' numbers.
    """
    budgets = [budget for budget, _ in records]
    try:
        usable = budgets[0] > 0 and all(a < b for a, b in itertools.pairwise(budgets))
    except TypeError:
        usable = False
    if not usable:
        budgets = list(range(1, len(records) + 1))
    last, span = budgets[-1], end - start
    return [end if budget == last else start + span * (budget / last) for budget in budgets]
