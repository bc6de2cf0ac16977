"""What can become of a job: its status, its kind of failure, its outcome.

These three travel between workers and the evaluator for every job, so they are plain and light:
this module imports little but the standard library, and a worker that starts pays nothing for it.
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
    """Where a job stands. The allowed moves are `TRANSITIONS`."""

    READY = "READY"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"


TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    # READY -> DONE or FAILED without RUNNING: the evaluator first hears of a short job by its outcome,
    # and a job that cannot be sent to a worker fails before it runs.
    JobStatus.READY: frozenset(
        {JobStatus.RUNNING, JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLING, JobStatus.CANCELLED}
    ),
    # RUNNING -> READY is a retry, or a job whose owner is gone.
    JobStatus.RUNNING: frozenset(
        {JobStatus.READY, JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLING, JobStatus.CANCELLED}
    ),
    # A job that was asked to stop may still end in its own way before it notices.
    JobStatus.CANCELLING: frozenset({JobStatus.CANCELLED, JobStatus.DONE, JobStatus.FAILED}),
    JobStatus.DONE: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}
"""From each status, those that may follow."""

FINAL = frozenset(status for status, following in TRANSITIONS.items() if not following)
"""The statuses in which a job stays."""


class FailureKind(enum.Enum):
    """Why a job has no objective. Code asks this, never the text of the objective.

    A text that is no kind here makes one that is in no list and has that text as its value: a store may hold outcomes
    that a later version, or another program, has written, and they are as good as any.

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

    # Of an unknown kind there may be many objects, and none is kept: what strangers write must not fill the memory.
    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, FailureKind) and self._value_ == other._value_)

    __hash__ = enum.Enum.__hash__


class Worker(NamedTuple):
    """Where a run-function executed."""

    name: str
    host: str
    pid: int


class Outcome(NamedTuple):
    """What came back from one attempt at a job.

    Attributes:
        status: DONE, FAILED or CANCELLED.
        objective: a number, a tuple of numbers or a text that begins with ``F``; for general tasks the
            value itself, or such a text.
        output: the dictionary that the run-function returned, if it returned one; else None.
        metadata: what the run-function said beside its objective, or None.
        error: a traceback or a reason as text, or None.
        kind: why there is no objective, or None.
        start, end: of the run-function's execution; seconds on the evaluator's clock.
        worker: where it executed; None if it never did.
        stopped_early: did it end on a stopper's advice, with a partial objective? None: there is no stopper.
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
    """Raised where a job was passed on to another process: carries the outcome it had there."""

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
"""Characters of an error's text that are looked at: a traceback has some thousands."""
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = re.compile(
    "\n(?:The above exception was the direct cause of the following exception"
    "|During handling of the above exception, another exception occurred):\n\n"
)


def last_line(error: str | None) -> str:
    """An error in one line: of a traceback the exception with all of its message, else the whole text.

    What is too long is cut in its middle: the end of a worker's or a command's standard error says most.
    """
    text = error or ""
    if len(text) > LONGEST_ERROR:
        text = text[: LONGEST_ERROR // 2] + "\n" + text[-LONGEST_ERROR // 2 :]
    text = " ".join(_message_of(text).split())
    if len(text) > LONGEST_LINE:
        text = text[: 2 * LONGEST_LINE // 3] + "…" + text[1 - LONGEST_LINE // 3 :]
    return printable(text)


def _message_of(error: str) -> str:
    """What stands below the last frame of a traceback: a message and notes may have several lines."""
    first, *below = _CHAINED.split(error)[-1].strip("\n").splitlines() or [""]
    if first == f"  + Exception Group {_TRACEBACK}":
        # Of a group its own message; those of its members stand behind lines of dashes.
        below = [line[4:] for line in itertools.takewhile(lambda line: line.startswith("  | "), below)]
    elif first != _TRACEBACK:
        return error
    begins = next((index for index, line in enumerate(below) if line and not line.startswith(" ")), None)
    return error if begins is None else "\n".join(below[begins:])


def place_of(error: str | None) -> str:
    """Where a traceback's exception was raised, as ``train.py:12 in run``; empty if the text is no traceback.

    Frames of evalpool itself, such as that of ``job["typo"]``, are no place to look at, unless there are no others.
    """
    found = None
    for line in (error or "")[-LONGEST_ERROR:].splitlines():
        if line.startswith("  File ") and (place := _PLACE.match(line)) is not None:
            found = found if found is not None and place[1].startswith(_OWN) else place
    return "" if found is None else printable(f"{found[1].rpartition('/')[2]}:{found[2]} in {found[3]}", LONGEST_LINE)


_OWN = os.path.dirname(__file__) + os.sep
_PLACE = re.compile(r'  File "(.*)", line (\d+), in (.*)')
