"""One attempt at a job: what the ledger gives a slot, what a backend runs and reports, what is asked to stop.

A job that is run again gets another attempt. So whoever holds an attempt needs no number to tell whether it is still
the one that counts: it is if the ledger has it among what runs (`JobLedger.running`), by identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["Attempt"]


class Attempt:
    """One run of one job, from the moment at which it is given a slot. Two are equal only if they are the same.

    Attributes:
        job: the job that the caller holds; to be read only.
        number: which attempt at the job, from 1.
        configuration: the dict to evaluate; to be read only.
        extra: keyword arguments lent to the run-function for this attempt, or None.
        timeout: seconds that it may run, or None; the evaluator sees to it.
        needs: resources that it must have; None today.
        place, source: for an engine's own use; not set before.
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
