"""What a job ends as that was asked to stop, or that ran over a limit.

The outcome's own start and end decide, never the moment at which a timer fired or a result was read: this process may
have been held up (Ctrl-Z, a laptop's lid, C code that holds the GIL) while its workers went on. A job that ended in
its own way before its deadline, before the end of the time budget or before it was cancelled keeps its outcome,
however late that is read; and one that ran over its job timeout has timed out, also where its result was read before
the timer could fire.

The times are those of the worker, on this host by the same clock as ours (CLOCK_MONOTONIC and its like). Of a worker on
another host only the duration counts, from the start that was seen from here.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from evalpool.outcomes import FailureKind, Outcome, failed

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.jobs._job import Job

__all__ = ["HELD_UP", "STOP_TEXT", "decide", "stopped_outcome"]

HELD_UP = 0.1
"""Seconds by which a timer may be late on a busy machine. If it is later, this process was held up, and results may be
there that nobody could read yet: they come first."""

STOP_TEXT = {
    FailureKind.TIMEOUT: "ran over its job timeout",
    FailureKind.CANCELLED: "was cancelled",
    FailureKind.SUSPENDED: "was stopped, to be resumed",
    FailureKind.MEMORY_LIMIT: "used more than its memory limit",
}

FORCED = frozenset({FailureKind.WORKER_DIED, FailureKind.TIMEOUT, FailureKind.CANCELLED, FailureKind.SUSPENDED})
"""How jobs end that do not end by themselves."""


def decide(evaluator: Evaluator, job: Job[Any], outcome: Outcome) -> Outcome:
    """What a job ends as whose attempt came back with `outcome`; under the evaluator's lock."""
    stop = job._stop
    if outcome.start is None or outcome.end is None or outcome.kind in FORCED:
        return outcome if stop is None else stopped_outcome(job, outcome)
    timeout = job.options.limit(evaluator._job_timeout)
    duration = outcome.end - outcome.start
    if stop is None:
        # Jobs in threads of this process were held up with it: theirs is the timer's word.
        if evaluator._workers_are != "threads":
            if timeout is not None and duration > timeout:
                job._stop = FailureKind.TIMEOUT
            elif outcome.end > evaluator._budget_end and not evaluator._budget_suspends:
                evaluator._out_of_time = True
                job._stop = FailureKind.CANCELLED
        return outcome if job._stop is None else stopped_outcome(job, outcome)
    if stop is FailureKind.TIMEOUT:
        in_time = timeout is not None and duration <= timeout
    else:
        in_time = _end(job, outcome, duration) <= job._asked
    if in_time:
        job._stop = None
        return outcome
    return stopped_outcome(job, outcome)


def _end(job: Job[Any], outcome: Outcome, duration: float) -> float:
    """When a job ended, on our clock."""
    assert outcome.end is not None
    worker, evaluator = outcome.worker, job._evaluator
    if worker is None or evaluator is None or job._started is None or worker.host == socket.gethostname():
        return outcome.end
    started: float = job._started + evaluator._origin  # type: ignore[attr-defined]
    return min(outcome.end, started + duration)


def stopped_outcome(job: Job[Any], outcome: Outcome | None, now: float | None = None) -> Outcome:
    """The outcome of a job that did not end before it was to stop, whatever it returned meanwhile."""
    kind = job._stop or FailureKind.CANCELLED
    evaluator: Any = job._evaluator
    origin = evaluator._origin if evaluator is not None else 0.0
    reason = STOP_TEXT[kind]
    if kind is FailureKind.TIMEOUT and evaluator is not None:
        reason = f"ran over its job timeout of {job.options.limit(evaluator._job_timeout)} s"
    elif kind in (FailureKind.CANCELLED, FailureKind.SUSPENDED) and evaluator is not None and evaluator._out_of_time:
        reason = evaluator._budget_text()
    if outcome is None:
        start = None if job._started is None else job._started + origin
        return failed(kind, reason, start=start, end=None if now is None or start is None else now + origin)
    return failed(kind, reason, metadata=outcome.metadata, start=outcome.start, end=outcome.end, worker=outcome.worker)
