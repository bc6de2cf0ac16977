"""The status of a job, its kind of failure, and its outcome.

These three travel between workers and the evaluator for every job, so they are plain and light:
this module imports little besides the standard library, so that it does not slow down the start of a worker.
The validated form of the same facts, for records that are kept, is `evalpool.models.JobRecord`.
"""

from __future__ import annotations

import enum
import itertools
import os
import re
from typing import Any, NamedTuple

from evalpool._text import LONGEST_LINE, printable

__all__ = [
    "FINAL",
    "TRANSITIONS",
    "Failure",
    "FailureKind",
    "JobStatus",
    "Outcome",
    "Worker",
    "WorkerFailure",
    "failed",
    "last_line",
    "place_of",
]


class JobStatus(enum.Enum):
    """The status of a job. The allowed changes are `TRANSITIONS`."""

    READY = "READY"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"

    __hash__ = object.__hash__  # each is there once; that of an enumeration is written in Python, and asked for often


TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    # READY -> DONE or FAILED without RUNNING: the first report of a short job is its outcome,
    # and a job that cannot be sent to a worker fails before it runs.
    JobStatus.READY: frozenset(
        {JobStatus.RUNNING, JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLING, JobStatus.CANCELLED}
    ),
    # RUNNING -> READY is a retry, or a job whose owner has died.
    JobStatus.RUNNING: frozenset(
        {JobStatus.READY, JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLING, JobStatus.CANCELLED}
    ),
    # A job that was asked to stop may still end by itself before it notices.
    JobStatus.CANCELLING: frozenset({JobStatus.CANCELLED, JobStatus.DONE, JobStatus.FAILED}),
    JobStatus.DONE: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}
"""From each status, those that may follow."""

FINAL = frozenset(status for status, following in TRANSITIONS.items() if not following)
"""The statuses in which a job stays."""


class FailureKind(enum.Enum):
    """Why a job has no objective. Programs should test this, never the text of the objective.

    A text that is not a kind of this version makes a new kind with that text as its value, which is not listed here: a
    store may hold outcomes that a later version, or another program, has written.

    >>> FailureKind("timeout") is FailureKind.TIMEOUT, FailureKind("preempted").value
    (True, 'preempted')
    """

    RETURNED = "returned"  # the run-function returned a string that begins with F
    RAISED = "raised"
    WORKER_DIED = "worker_died"
    TIMEOUT = "timeout"
    MEMORY_LIMIT = "memory_limit_exceeded"
    UNPICKLABLE = "unpicklable"
    INVALID_OUTPUT = "invalid_output"
    CANCELLED = "cancelled"
    SUSPENDED = "suspended"  # stopped here, and left in the storage to be resumed

    @classmethod
    def _missing_(cls, value: object) -> FailureKind | None:
        if not isinstance(value, str):
            return None
        kind = object.__new__(cls)
        kind._name_ = kind._value_ = value
        return kind

    # There may be many objects of an unknown kind. None is kept, so that a store of others cannot fill the memory.
    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, FailureKind) and self._value_ == other._value_)

    __hash__ = enum.Enum.__hash__


class Worker(NamedTuple):
    """Where a run-function executed."""

    name: str
    host: str
    pid: int


class Outcome(NamedTuple):
    """The result of one attempt at a job.

    Attributes:
        status: DONE, FAILED or CANCELLED.
        objective: a number, a tuple of numbers or a text that begins with ``F``; for general tasks the
            value itself, or such a text.
        output: the dictionary that the run-function returned, if it returned one; else None.
        metadata: the run-function's own metadata, or None.
        error: a traceback or a reason as text, or None.
        kind: why there is no objective, or None.
        start, end: of the run-function's execution; seconds on the evaluator's clock.
        worker: where it executed; None if it never did.
        stopped_early: whether a stopper ended it, with a partial objective; None if there is no stopper.
    """

    status: JobStatus
    objective: Any
    output: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    error: str | None = None
    kind: FailureKind | None = None
    start: float | None = None
    end: float | None = None
    worker: Worker | None = None
    stopped_early: bool | None = None


class Failure(str):
    """A failure as a run-function returns it, ``"F_..."``, that also knows its kind and its reason."""

    kind: FailureKind
    error: str

    def __new__(cls, kind: FailureKind, error: str) -> Failure:
        self = super().__new__(cls, f"F_{kind.value}")
        self.kind = kind
        self.error = error
        return self


class WorkerFailure(Exception):
    """Raised if a job that was passed on to another process failed there; carries that outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.error or str(outcome.objective))
        self.outcome = outcome


def failed(
    kind: FailureKind,
    error: str,
    *,
    objective: str | None = None,
    metadata: dict[str, Any] | None = None,
    start: float | None = None,
    end: float | None = None,
    worker: Worker | None = None,
) -> Outcome:
    """The outcome of a job that failed; its objective is ``F_<kind>`` unless given."""
    if kind in (FailureKind.CANCELLED, FailureKind.SUSPENDED):
        status, text = JobStatus.CANCELLED, "F_CANCELLED"
    else:
        status, text = JobStatus.FAILED, f"F_{kind.value}"
    return Outcome(status, objective or text, None, metadata, error, kind, start, end, worker)


LONGEST_ERROR = 100_000
"""The most characters of an error's text that are examined: a traceback has some thousands."""
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = (  # compiled when it is first used: that takes as long as importing two modules
    "\n(?:The above exception was the direct cause of the following exception"
    "|During handling of the above exception, another exception occurred):\n\n"
)


def last_line(error: str | None) -> str:
    """An error in one line: the exception of a traceback with its whole message, or else the whole text.

    A text that is too long is cut in the middle: the end of a worker's or a command's standard error is most useful.
    """
    text = error or ""
    if len(text) > LONGEST_ERROR:
        text = text[: LONGEST_ERROR // 2] + "\n" + text[-LONGEST_ERROR // 2 :]
    text = " ".join(_message_of(text).split())
    if len(text) > LONGEST_LINE:
        text = text[: 2 * LONGEST_LINE // 3] + "…" + text[1 - LONGEST_LINE // 3 :]
    return printable(text)


def _message_of(error: str) -> str:
    """The text below the last frame of a traceback: a message and notes may have several lines."""
    first, *below = re.split(_CHAINED, error)[-1].strip("\n").splitlines() or [""]
    if first == f"  + Exception Group {_TRACEBACK}":
        # The message of the group itself; those of its members come after lines of dashes.
        below = [line[4:] for line in itertools.takewhile(lambda line: line.startswith("  | "), below)]
    elif first != _TRACEBACK:
        return error
    begins = next((index for index, line in enumerate(below) if line and not line.startswith(" ")), None)
    return error if begins is None else "\n".join(below[begins:])


def place_of(error: str | None) -> str:
    """Where a traceback's exception was raised, as ``train.py:12 in run``; empty if the text is no traceback.

    Frames of evalpool itself, such as that of ``job["typo"]``, are ignored, unless there are no others.
    """
    found = None
    for line in (error or "")[-LONGEST_ERROR:].splitlines():
        if line.startswith("  File ") and (place := re.match(_PLACE, line)) is not None:
            found = found if found is not None and place[1].startswith(_OWN) else place
    return "" if found is None else printable(f"{found[1].rpartition('/')[2]}:{found[2]} in {found[3]}", LONGEST_LINE)


_OWN = os.path.dirname(__file__) + os.sep
_PLACE = r'  File "(.*)", line (\d+), in (.*)'
