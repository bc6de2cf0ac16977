"""Encodes jobs as bytes for a worker, and reads outcomes from its frames."""

from __future__ import annotations

import itertools
import pickle
from typing import Any, NamedTuple

from evalpool._clock import monotonic
from evalpool.backends._pool import _wire
from evalpool.outcomes import FailureKind, JobStatus, Outcome, Worker, failed

__all__ = ["Pickled", "encode", "load_outcome", "messages_for"]

DONE = JobStatus.DONE
STATUS = {status.value: status for status in JobStatus}
KIND = {kind.value: kind for kind in FailureKind}
_PLAIN = frozenset({int, float, str, bool, type(None)})
_TUPLE = frozenset({tuple})


class Pickled(NamedTuple):
    """A job that was encoded by itself. It is encoded only once, as some values can be pickled only once (a token)."""

    kind: int
    job: tuple[int, int]  # its number and attempt
    payload: bytes
    buffers: list[memoryview]


def encode(attempt: Any) -> Any:
    """Return a tuple for a batch, or a `Pickled` if pickling the job may fail or it may have large arrays."""
    configuration, extra = attempt.configuration, attempt.extra
    number = attempt.job.number
    if not extra and _PLAIN.issuperset(map(type, configuration.values())):
        return number, attempt.number, configuration, None
    payload, buffers = _wire.dump((configuration, extra or None))
    identity = number, attempt.number
    return Pickled(_wire.ONE_JOB, identity, _wire.JOB.pack(*identity) + payload, buffers)


def messages_for(jobs: list[Any], kind: int = _wire.JOBS) -> list[Any]:
    """Return the messages for these jobs, in order. Consecutive jobs that are tuples share a frame of this kind."""
    if _TUPLE.issuperset(map(type, jobs)):
        return [_wire.frame(kind, pickle.dumps(jobs, 5))]
    messages: list[Any] = []
    for is_batch, group in itertools.groupby(jobs, lambda job: type(job) is tuple):
        if is_batch:
            messages.append(_wire.frame(kind, pickle.dumps(list(group), 5)))
        else:
            messages.extend(group)
    return messages


def load_outcome(kind: int, payload: Any, buffers: list[memoryview], worker: Worker, since: float) -> Outcome:
    """Return the outcome in a worker's frame. If the result cannot be unpickled, the job, begun at `since`, fails."""
    if kind == _wire.FAST_OUTCOME:
        ((_, _, objective, start, end),) = payload
        return Outcome(DONE, objective, None, None, None, None, start, end, worker)
    try:
        facts = _wire.load(payload[_wire.JOB.size :], buffers)
        status, objective, output, metadata, error, failure, start, end, stopped_early = facts
    except BaseException as problem:  # noqa: BLE001  a result's own code may raise anything
        from evalpool.worker._call import describe_exception

        text = f"The result could not be unpickled here: {describe_exception(problem, problem.__traceback__)}"
        return failed(FailureKind.UNPICKLABLE, text, start=since, end=monotonic(), worker=worker)
    why = KIND.get(failure)
    return Outcome(STATUS[status], objective, output, metadata, error, why, start, end, worker, stopped_early)
