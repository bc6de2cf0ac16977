"""The schedule in virtual time: one row per job, in the order of their numbers.

It is kept as columns, about seventy bytes per job, so that a million jobs fit into memory. Values that follow from
other columns are not kept: the end of a job is its start plus its charged runtime; most jobs start when they are
submitted, and most are DONE.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

__all__ = ["CANCELLED", "DONE", "FAILED", "LOST", "Trace", "TraceRow"]

DONE, FAILED, CANCELLED, LOST = "DONE", "FAILED", "CANCELLED", "LOST"
LEFT_OVER = {"max_time": "CENSORED", "max_evals": "DROPPED"}
"""The status of jobs that ran or waited when a limit was reached."""


class TraceRow(NamedTuple):
    """One job. Times are seconds of virtual time; None if it did not happen, or not yet.

    Attributes:
        job: its number.
        worker: the virtual worker that ran it.
        submit: when it was submitted.
        start, end: of its execution.
        charged: how long it occupied the worker.
        resumed: the fidelity of the checkpoint that it continued.
        status: READY, RUNNING, DONE, FAILED, CANCELLED, LOST (its caller died), CENSORED (would have ended after
            ``max_time``) or DROPPED (ran when ``max_evals`` was reached).
    """

    job: int
    worker: int | None
    submit: float
    start: float | None
    end: float | None
    charged: float | None
    resumed: int | None
    status: str


class Trace:
    """The columns. The kernel appends to them directly; nothing else writes.

    Attributes:
        worker: by job; -1 if it has none yet.
        start: by job; NaN if it has not started.
        charged: by job; NaN if it is not known yet.
        submit: by job, only where it differs from the start.
        ended: by job, only where the end is not the sum of start and charge, because the job was stopped.
        statuses: by job, the status of those that have ended and are not DONE.
        resumed: by job, the fidelity of the checkpoint that it continued.
        again: start and end of each attempt that failed, not lost with its worker, and was run again; the other columns
            are of the last attempt.
    """

    __slots__ = ("again", "charged", "ended", "resumed", "start", "statuses", "submit", "worker")

    def __init__(self) -> None:
        self.worker: list[int] = []
        self.start: list[float] = []
        self.charged: list[float] = []
        self.submit: dict[int, float] = {}
        self.ended: dict[int, float] = {}
        self.statuses: dict[int, str] = {}
        self.resumed: dict[int, int] = {}
        self.again: list[tuple[float, float]] = []

    def copy(self) -> Trace:
        """Return the same columns, which do not change when these do."""
        other = Trace()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name).copy())
        return other

    def end(self, job: int) -> float:
        """Return when a job of known runtime ended."""
        ended = self.ended.get(job) if self.ended else None
        return self.start[job] + self.charged[job] if ended is None else ended

    def rows(self, live: Container[int], unused: Container[int], over: str | None) -> Iterator[TraceRow]:
        """Yield one row per submitted job.

        Args:
            live: jobs that wait or run.
            unused: numbers that were given to callers that did not bring a job.
            over: the limit that ended the run, if it has ended.
        """
        left = LEFT_OVER.get(over or "")
        for job, (worker, start, charged) in enumerate(zip(self.worker, self.start, self.charged, strict=True)):
            if job in unused:
                continue
            ran = not math.isnan(start)
            ended = ran and job not in live
            if job in live:
                status = left or ("RUNNING" if ran else "READY")
            else:
                status = self.statuses.get(job, DONE)
            reported = ended and status != LOST
            yield TraceRow(
                job,
                worker if worker >= 0 else None,
                self.submit.get(job, start),
                start if ran else None,
                self.end(job) if reported else None,
                charged if reported else None,
                self.resumed.get(job),
                status,
            )

    def state(self) -> dict[str, Any]:
        return {
            "worker": list(self.worker),
            "start": [None if math.isnan(value) else value for value in self.start],
            "charged": [None if math.isnan(value) else value for value in self.charged],
            "submit": list(self.submit.items()),
            "ended": list(self.ended.items()),
            "fates": list(self.statuses.items()),
            "resumed": list(self.resumed.items()),
            "again": [list(attempt) for attempt in self.again],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.worker = list(state["worker"])
        self.start = [math.nan if value is None else value for value in state["start"]]
        self.charged = [math.nan if value is None else value for value in state["charged"]]
        for key, name in (("submit", "submit"), ("ended", "ended"), ("fates", "statuses"), ("resumed", "resumed")):
            setattr(self, name, {int(job): value for job, value in state[key]})
        self.again = [(start, end) for start, end in state.get("again", ())]  # states of earlier versions lack it


def digest(rows: Iterator[TraceRow]) -> str:
    """Return a hash of rows; equal schedules have equal hashes on every machine. Costs some microseconds per job."""
    hashed = hashlib.blake2b(digest_size=16)
    for row in rows:
        hashed.update(repr(tuple(row)).encode())
    return hashed.hexdigest()
