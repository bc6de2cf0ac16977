"""Converts the state of a job to what callers get: its `JobRecord`, or the dict of `load_job`.

Both are copies that share nothing with the log. A storage in memory keeps values as they were given to `append`. They
are converted to JSON here, when they are read. A value that has no JSON form is replaced by its repr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool._json import plain
from evalpool.jobs._options import NO_OPTIONS, JobOptions
from evalpool.outcomes import FailureKind
from evalpool.storage._fold import JobState

if TYPE_CHECKING:
    from evalpool.models import JobRecord
    from evalpool.storage._base import Storage

__all__ = ["MINIMIZE", "job_dict", "job_metadata", "job_objective", "job_options", "job_out", "job_record", "minimizes"]

MINIMIZE = "minimize"
"""The name of a value of a search that is True if smaller objectives are better in this search."""

_FROM_RESULT = ("error", "kind", "attempt_errors", "stopped_early")
_TIMES = ("timestamp_submit", "timestamp_start", "timestamp_end", "timestamp_gather")
_PLACE = ("worker", "host", "pid")


def job_record(search_id: str, job: JobState) -> JobRecord:
    """Return a new object with everything that is known about the job."""
    from evalpool.models import JobRecord  # here, as importing pydantic takes longer than importing all of evalpool

    inputs, result = _inputs(job), job.result or {}
    args = inputs.get("args") or {}
    attempts = result.get("attempts")
    if attempts is None:
        attempts = job.attempt if job.begun else job.attempt - 1
    others = {key: plain(result[key], lenient=True) for key in _FROM_RESULT if result.get(key) is not None}
    if "kind" in others:
        others["kind"] = FailureKind(others["kind"])  # pydantic refuses half a surrogate pair in the name of a member
    if job.losses and "attempt_errors" not in others:
        others["attempt_errors"] = [_loss(started) for started in job.losses]
    return JobRecord(
        job_id=f"{search_id}.{job.number}",
        search_id=search_id,
        number=job.number,
        status=job.status,
        configuration=plain(args if isinstance(args, dict) else {"args": args}, lenient=True),
        kwargs=plain(inputs.get("kwargs") or {}, lenient=True),
        options=job_options(job),
        objective=job_objective(job),
        output=job_out(job),
        metadata=plain(_own_metadata(job), lenient=True),
        recorded=[
            (plain(data["budget"], lenient=True), as_objective(data["objective"])) for data in job.recorded or ()
        ],
        attempts=attempts,
        owner=job.owner,
        lost=sum(started is not None for started in job.losses or ()),
        **others,
        **plain(_facts(job), lenient=True),
    )


def job_options(job: JobState) -> JobOptions:
    """Return the options that were given with the job's configuration."""
    return NO_OPTIONS if job.created is None else JobOptions.of(job.created.get("options"))


def _loss(started: dict[str, Any] | None) -> str:
    """Return a sentence about an attempt that was lost because its owner ended, so that another one took the job."""
    if started is None:
        return "[lost] it did not run: it waited when its evaluator had ended, or had been suspended"
    worker, host, pid = (started.get(key) for key in _PLACE)
    place = f" on {worker} of {host} (process {pid})" if worker is not None else ""
    return f"[lost] attempt {started.get('attempt', 1)} ran{place} when its evaluator had ended"


def job_dict(job: JobState) -> dict[str, Any]:
    """Return the dict that `load_job` returns."""
    inputs = _inputs(job)
    return {
        "status": job.status,
        "in": plain({"args": inputs.get("args"), "kwargs": inputs.get("kwargs")}, lenient=True),
        "out": job_out(job),
        "metadata": job_metadata(job),
    }


def job_out(job: JobState) -> Any:
    """Return a copy of what was stored with `store_job_out`, or else of the job's output; None if there is none yet."""
    out = plain(_raw_out(job), lenient=True)
    if job.out is None and isinstance(out, dict) and isinstance(out.get("objective"), list):
        out["objective"] = tuple(out["objective"])
    return out


def job_metadata(job: JobState) -> dict[str, Any]:
    """Return a copy of the job's metadata, with its timestamps and its worker as far as they are known."""
    return plain({**_facts(job), **_own_metadata(job)}, lenient=True)  # type: ignore[no-any-return]


def as_objective(value: Any) -> Any:
    """Return an objective as searches get it: several numbers are a tuple, also if the store returned a list."""
    value = plain(value, lenient=True)
    return tuple(value) if isinstance(value, list) else value


def _inputs(job: JobState) -> dict[str, Any]:
    created = job.created or {}
    return created if job.by_hand is None else {**created, **job.by_hand}


def _raw_out(job: JobState) -> Any:
    if job.out is not None:
        return job.out["out"]
    result = job.result
    if result is None:
        return None
    output = result.get("output")
    if output is None and result.get("objective") is not None:
        return {"objective": result["objective"]}
    return output


def job_objective(job: JobState) -> Any:
    """Return a copy of the job's objective, several numbers as a tuple; None if there is none yet."""
    if job.result is not None and "objective" in job.result:
        objective = job.result["objective"]
        return objective if type(objective) is float else as_objective(objective)
    if job.out is None:
        return None
    out = job.out["out"]
    return as_objective(out.get("objective") if isinstance(out, dict) else out)


def _own_metadata(job: JobState) -> dict[str, Any]:
    ended = job.result.get("metadata") if job.result is not None else None
    return {**(job.metadata or {}), **(ended or {})}


def _facts(job: JobState) -> dict[str, Any]:
    """Return when and where the job ran, as far as it is known."""
    facts: dict[str, Any] = {}
    if job.created is not None and job.created.get("submit") is not None:
        facts["timestamp_submit"] = job.created["submit"]
    if job.started is not None:
        facts["timestamp_start"] = job.started.get("start")
        for key in _PLACE:
            facts[key] = job.started.get(key)
    if job.result is not None:
        for key in _TIMES + _PLACE:
            if job.result.get(key) is not None:
                facts[key] = job.result[key]
    if job.gathered is not None:
        facts["timestamp_gather"] = job.gathered["timestamp_gather"]
    return {key: value for key, value in facts.items() if value is not None}


def minimizes(storage: Storage, search_id: str) -> bool:
    """Return whether smaller objectives are better in this search, as stored by the program that began it."""
    try:
        return storage.load_search_value(search_id, MINIMIZE) is True
    except KeyError:
        return False
