"""Converts what a run-function returned to an outcome: objective, output, metadata, or what is wrong.

This happens in the worker, where the run-function ran. So it is the same on every backend, the evaluator's process need
not convert anything, and an invalid value is not sent. The returned value is never changed, and nothing of it is shared
with the next job.
"""

from __future__ import annotations

import math
import numbers
import sys
from typing import Any

from evalpool._interrupts import from_a_handler
from evalpool._text import described
from evalpool.outcomes import Failure, FailureKind, JobStatus, Outcome, Worker, failed

__all__ = ["TOO_LARGE", "standardise"]

EXPECTED = (
    "a number, a tuple or list of numbers, a text that begins with 'F' for a failure, or a dict with "
    "'objective' and optionally 'metadata'"
)

_new: Any = tuple.__new__
_DONE = JobStatus.DONE

MAX_OBJECTIVES = 1_000
"""A longer sequence is data that was returned instead of an objective."""


MAX_DIGITS = 4_300
"""Of a whole number. Python refuses by default to convert a longer one to text, and with it a job or a record."""

TOO_LARGE = 10**MAX_DIGITS
"""The smallest whole number that is not an objective."""


class _Invalid(Exception):
    """The result is invalid; the text says what was returned and what was expected."""


def standardise(
    value: Any,
    job_type: str,
    metadata: dict[str, Any] | None,
    start: float,
    end: float,
    worker: Worker | None = None,
) -> Outcome:
    """Return the outcome of a run-function that returned `value`.

    Raises only what a signal handler raises meanwhile, which does not depend on the value.

    Args:
        value: the returned value, of any type.
        job_type: ``"hpo"`` (it must contain an objective) or ``"task"`` (any value is valid).
        metadata: what the run-function set on its running job, or None.
        start, end: seconds on the evaluator's clock.
        worker: where it ran.
    """
    # The two most common cases come first: this is called for up to a hundred thousand evaluations per second.
    kind = type(value)
    if (kind is float and math.isfinite(value)) or (kind is int and -TOO_LARGE < value < TOO_LARGE):
        # The same as `Outcome(...)`, without a call of a Python function.
        outcome: Outcome = _new(Outcome, (_DONE, value, None, metadata, None, None, start, end, worker, None))
        return outcome
    try:
        if job_type == "task":
            return _task(value, metadata, start, end, worker)
        return _evaluation(value, metadata, start, end, worker)
    except _Invalid as invalid:
        error = str(invalid)
    except Exception as failure:  # any method of a user's type may raise; that is a failure of the job
        if from_a_handler(failure):
            raise
        error = f"the result of type {kind.__qualname__} could not be read: {described(failure)}"
    return failed(FailureKind.INVALID_OUTPUT, error, metadata=metadata, start=start, end=end, worker=worker)


def _evaluation(
    value: Any, metadata: dict[str, Any] | None, start: float, end: float, worker: Worker | None
) -> Outcome:
    value, metadata = _unwrap_profile(value, metadata)
    output: dict[str, Any] | None = None
    if isinstance(value, dict):
        output = dict(value)
        own = output.pop("metadata", None)
        metadata = _merge(metadata, own)
        objective = _objective_of(value)
        output["objective"] = str(objective) if isinstance(objective, Failure) else objective
    else:
        objective = _objective(value)
    if isinstance(objective, Failure):
        ended = failed(objective.kind, objective.error, metadata=metadata, start=start, end=end, worker=worker)
        return ended._replace(output=output)
    failure = FailureKind.RETURNED if isinstance(objective, str) else None
    return Outcome(JobStatus.DONE, objective, output, metadata, None, failure, start, end, worker)


def _task(value: Any, metadata: dict[str, Any] | None, start: float, end: float, worker: Worker | None) -> Outcome:
    value, metadata = _unwrap_profile(value, metadata)
    if isinstance(value, Failure):
        return failed(value.kind, value.error, metadata=metadata, start=start, end=end, worker=worker)
    return Outcome(JobStatus.DONE, value, None, metadata, None, None, start, end, worker)


def _unwrap_profile(value: Any, metadata: dict[str, Any] | None) -> tuple[Any, dict[str, Any] | None]:
    """Split ``{"output": ..., "metadata": {...}}``, the form that `profile` returns."""
    if isinstance(value, dict) and len(value) == 2 and "output" in value and isinstance(value.get("metadata"), dict):
        return value["output"], _merge(metadata, value["metadata"])
    return value, metadata


def _merge(metadata: dict[str, Any] | None, more: Any) -> dict[str, Any] | None:
    if more is None:
        return metadata
    if not isinstance(more, dict):
        raise _Invalid(f"'metadata' is of type {type(more).__qualname__} ({_show(more)}); expected a dict")
    wrong = [key for key in more if not isinstance(key, str)]
    if wrong:
        raise _Invalid(f"'metadata' has the key {wrong[0]!r} of type {type(wrong[0]).__qualname__}; expected text")
    return {**metadata, **more} if metadata else dict(more)


def _objective_of(value: dict[Any, Any]) -> Any:
    """Return the objective in a dict; a `Failure` if it is invalid, because what else is there stays valid: a training
    whose loss became NaN took the time that it returns.
    """
    try:
        if "objective" not in value:
            raise _Invalid(f"got a dict with the keys {sorted(map(str, value))}, without 'objective'; {_wanted()}")
        return _objective(value["objective"])
    except _Invalid as invalid:
        return Failure(FailureKind.INVALID_OUTPUT, str(invalid))


def _objective(value: Any) -> Any:
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, str):
        if value.startswith("F"):
            return value if isinstance(value, Failure) else str(value)
        raise _Invalid(f"got the text {_show(value)}; a text means a failure and begins with 'F'; {_wanted()}")
    value = _plain(value)
    if isinstance(value, (tuple, list)):
        if not value:
            raise _Invalid(f"got an empty {type(value).__name__}; {_wanted()}")
        if len(value) > MAX_OBJECTIVES:
            raise _too_many(len(value))
        return tuple([_number(_plain(item), f" at position {i}") for i, item in enumerate(value)])
    return _number(value, "")


def _plain(value: Any) -> Any:
    """Convert numpy scalars, arrays and tensors to Python numbers and lists."""
    if isinstance(value, (int, float, tuple, list)) and not type(value).__module__.startswith("numpy"):
        return value
    numpy = sys.modules.get("numpy")  # a run-function that returns an array has imported numpy
    if numpy is not None:
        if isinstance(value, numpy.generic):
            return value.item()
        if not isinstance(value, numpy.ndarray) and hasattr(value, "__array__"):
            value = numpy.asarray(value)
        if isinstance(value, numpy.ndarray):
            if value.ndim > 1:
                raise _Invalid(f"got an array of shape {value.shape}; expected one dimension at most; {_wanted()}")
            if value.size > MAX_OBJECTIVES:
                raise _too_many(value.size)
            return value.tolist()
    return value


def _number(value: Any, where: str) -> Any:
    if isinstance(value, int):
        whole = int(value)
        if -TOO_LARGE < whole < TOO_LARGE:
            return whole
        digits = round(whole.bit_length() * math.log10(2))
        raise _Invalid(
            f"got a whole number of about {digits:,} digits{where}; an objective has at most {MAX_DIGITS}, as Python "
            "prints no more: return its logarithm, or another number that is ordered in the same way"
        )
    if isinstance(value, numbers.Real):
        number = float(value)
        if math.isfinite(number):
            return number
        raise _Invalid(f"got {number!r}{where}; an objective is finite: return 'F_...' for a failure")
    decimal = sys.modules.get("decimal")
    if decimal is not None and isinstance(value, decimal.Decimal):
        return _number(float(value), where)
    if value is None:
        raise _Invalid(f"got None{where}: is a `return` missing? {_wanted()}")
    raise _Invalid(f"got {_show(value)} of type {type(value).__qualname__}{where}; {_wanted()}")


def _too_many(count: int) -> _Invalid:
    return _Invalid(
        f"got {count} numbers as objective; at most {MAX_OBJECTIVES} objectives are allowed: return other numbers "
        "under another key, {'objective': ..., 'values': ...}"
    )


def _show(value: Any) -> str:
    if hasattr(value, "__len__") and len(value) > 1_000:
        return f"{len(value)} items"  # the repr of 500 MB would take longer than the job
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def _wanted() -> str:
    return f"expected {EXPECTED}"
