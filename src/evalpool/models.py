"""The validated models of what users set and what storages keep."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from evalpool.jobs._options import NO_OPTIONS, JobOptions
from evalpool.outcomes import FINAL, TRANSITIONS, FailureKind, JobStatus, Outcome, Worker

__all__ = [
    "FINAL",
    "TRANSITIONS",
    "FailureKind",
    "JobOptions",
    "JobRecord",
    "JobStatus",
    "Outcome",
    "Retries",
    "Worker",
]


class JobRecord(BaseModel):
    """Everything that is kept about one job, as JSON values.

    Timestamps are seconds since the start of the search, on one clock.
    """

    model_config = ConfigDict(extra="forbid")

    job_id: str
    search_id: str
    number: int = Field(ge=0)
    status: JobStatus = JobStatus.READY
    configuration: dict[str, Any] = Field(default_factory=dict)
    kwargs: dict[str, Any] = Field(default_factory=dict)
    options: JobOptions = Field(default=NO_OPTIONS, description="priority, time limit and tags")
    objective: Any = None
    output: Any = None
    error: str | None = None
    stopped_early: bool = Field(default=False, description="a stopper ended it: the objective is partial")
    kind: FailureKind | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    recorded: list[tuple[float, Any]] = Field(default_factory=list, description="(budget, objective)")
    attempts: int = Field(default=0, ge=0)
    attempt_errors: list[str] = Field(default_factory=list, description="of the attempts before the last")
    timestamp_submit: float | None = None
    timestamp_start: float | None = None
    timestamp_end: float | None = None
    timestamp_gather: float | None = None
    worker: str | None = None
    host: str | None = None
    pid: int | None = None
    owner: str | None = Field(default=None, description="the client that submitted it")
    lost: int = Field(default=0, ge=0, description="attempts that were lost because their evaluator died")


class Retries(BaseModel):
    """How often a job is run again, for each kind of failure.

    ``retries=n`` of an evaluator is short for ``Retries(worker_died=n, raised=n)``. A worker's death is
    mostly the infrastructure's fault (preemption, memory), an exception mostly the run-function's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    worker_died: int = Field(default=0, ge=0)
    raised: int = Field(default=0, ge=0)
    timeout: int = Field(default=0, ge=0)

    def allowed(self) -> dict[FailureKind, int]:
        """Kind of failure -> how often a job is run again after it; kinds that are missing are not retried."""
        return {
            FailureKind.WORKER_DIED: self.worker_died,
            FailureKind.RAISED: self.raised,
            FailureKind.TIMEOUT: self.timeout,
        }
