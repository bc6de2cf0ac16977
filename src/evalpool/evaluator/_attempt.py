"""One attempt at a job: the ledger gives it a slot, a backend runs it and reports its outcome.

A job that is run again gets another attempt. An attempt counts as long as this object is in `JobLedger.running`. The
comparison is by identity, so no number is needed to recognise a late report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["Attempt"]


class Attempt:
    """One run of one job, from the moment it gets a slot. Attempts are compared by identity.

    Attributes:
        job: the job that the caller holds; to be read only.
        number: which attempt at the job, from 1.
        configuration: the dict to evaluate; to be read only.
        extra: keyword arguments lent to the run-function for this attempt, or None.
        timeout: seconds that it may run, or None; the evaluator enforces it.
        needs: resources that it must have; always None for now.
        place, source: for the engine's own use; unset until the engine sets them.
    """

    __slots__ = ("configuration", "extra", "job", "number", "place", "source", "timeout")

    needs: Any = None

    place: Any
    source: Any

    def __init__(self, job: Job[Any], timeout: float | None) -> None:
        self.job = job
        self.number = job.attempts
        self.configuration = job.args
        self.extra = job._extra
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"Attempt({self.job.id!r}, number={self.number})"
