"""The runtimes of jobs: where to find a job's runtime, and what a wrong one means."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._text import described
from evalpool.errors import BadArgument
from evalpool.outcomes import Outcome, failed

if TYPE_CHECKING:
    from evalpool.jobs._job import Job
    from evalpool.simulation._kernel import Verdict

__all__ = ["check_has_runtimes", "check_runtime_key", "judged", "runtime_of", "timestamps"]


def check_runtime_key(value: Any) -> str | Callable[[Any, Any], Any]:
    """Check the argument ``runtime`` of `simulate` and `simulated`."""
    if isinstance(value, str) and value:
        return value
    if callable(value):
        found: Callable[[Any, Any], Any] = value
        return found
    raise BadArgument(
        f"runtime is {value!r}; give the key of the output or metadata that holds the seconds, or a function of "
        "(job, output)."
    )


def check_has_runtimes(run_function: Any, where: str | Callable[[Any, Any], Any], before: Any = None) -> None:
    """Raise `BadArgument` if a run-function says that it declares no runtimes, and nobody else does.

    It says so by an attribute ``has_runtimes``, as a `evalpool.benchmarks.Benchmark` has it. Otherwise each job would
    fail, at the cost of no time.
    """
    if getattr(run_function, "has_runtimes", True) or where != "runtime" or before is not None:
        return
    raise BadArgument(
        f"{run_function!r} cannot run in simulated time: it does not know how long a job takes. Give it a runtime, "
        "benchmark.with_runtime(RuntimeModel.lognormal(60.0, 0.5)) in seconds, or name what holds it: "
        "Benchmark.from_table(..., runtime='train_time')."
    )


def runtime_of(where: str | Callable[[Any, Any], Any], job: Job[Any], outcome: Outcome) -> Any:
    """Return what a job declares as its runtime, of any type; None if it declares nothing.

    Args:
        where: as checked by `check_runtime_key`. A callable gets the job and its output, also for a failed job. If it
            raises, a text that says so is returned, which is not a valid runtime.
        job: the job; only a callable uses it.
        outcome: of the job.
    """
    if callable(where):
        before, job._outcome = job._outcome, outcome  # for this call only, since its virtual end has not come
        try:
            return where(job, job.output)
        except Exception as error:  # noqa: BLE001  the user's function; its failure is the job's
            return f"nothing, because runtime= raised {described(error)}"
        finally:
            job._outcome = before
            job._metadata = None  # the callable may have read it, and the virtual times are not known yet
    for place in (outcome.output, outcome.metadata):
        if place is not None and where in place:
            return place[where]
    value = outcome.objective  # for job_type="task", the returned dict
    return value.get(where) if isinstance(value, dict) else None


def judged(outcome: Outcome | None, verdict: Verdict) -> Outcome:
    """Return the outcome of a job whose runtime made it a failure."""
    metadata = None if outcome is None else outcome.metadata
    worker = None if outcome is None else outcome.worker
    return failed(verdict.kind, verdict.message, metadata=metadata, worker=worker)


def timestamps(facts: dict[str, Any], submitted: float, gathered: float | None) -> dict[str, float | None]:
    """Return the four timestamps of a job, from its `Kernel.facts`, which are empty before its end."""
    start = facts.get("virtual_start")
    return {
        "timestamp_submit": submitted,
        "timestamp_start": start,
        "timestamp_end": None if start is None else facts["virtual_end"],
        "timestamp_gather": gathered,
    }
