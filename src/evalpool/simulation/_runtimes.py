"""How long a job would have taken: where its runtime stands, what becomes of a wrong one, when records were made."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool.errors import BadArgument
from evalpool.outcomes import Outcome, failed

if TYPE_CHECKING:
    from evalpool.jobs._job import Job
    from evalpool.simulation._kernel import Verdict

__all__ = ["check_runtime_key", "judged", "record_times", "runtime_of", "timestamps"]


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
    """What a job declares as its runtime, of whatever type; None if it declares nothing.

    Args:
        where: as checked by `check_runtime_key`. A callable gets the job and its output, also of a failed job; if it
            raises, what is returned is a text that says so, which is no runtime.
        job: the job; only a callable gets it.
        outcome: of the job.
    """
    if callable(where):
        before, job._outcome = job._outcome, outcome  # for this call alone: its virtual end has not come
        try:
            return where(job, job.output)
        except Exception as error:  # noqa: BLE001  the user's function; its failure is the job's
            return f"nothing, for runtime= raised {type(error).__name__}: {error}"
        finally:
            job._outcome = before
            job._metadata = None  # if it looked there: the virtual times are yet to come
    for place in (outcome.output, outcome.metadata):
        if place is not None and where in place:
            return place[where]
    value = outcome.objective  # of a general task: the dict itself
    return value.get(where) if isinstance(value, dict) else None


def judged(outcome: Outcome | None, verdict: Verdict) -> Outcome:
    """The outcome of a job whose runtime made it a failure."""
    metadata = None if outcome is None else outcome.metadata
    worker = None if outcome is None else outcome.worker
    return failed(verdict.kind, verdict.message, metadata=metadata, worker=worker)


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


def timestamps(facts: dict[str, Any], submitted: float, gathered: float | None) -> dict[str, float | None]:
    """The four that every job has, from its facts in virtual time, `Kernel.facts`; no facts before its end."""
    start = facts.get("virtual_start")
    return {
        "timestamp_submit": submitted,
        "timestamp_start": start,
        "timestamp_end": None if start is None else facts["virtual_end"],
        "timestamp_gather": gathered,
    }
