"""The status of a job by deephyper's numbers, which programs store and compare."""

from __future__ import annotations

import enum

import evalpool

__all__ = ["JobStatus", "as_stored", "status_of"]


class JobStatus(enum.Enum):
    """Where a job stands. A job that failed is DONE here, with a text as its result: deephyper knows no FAILED."""

    READY = 0
    RUNNING = 1
    DONE = 2
    CANCELLING = 3
    CANCELLED = 4


def status_of(status: evalpool.JobStatus) -> JobStatus:
    """What evalpool's status is here."""
    return JobStatus.DONE if status is evalpool.JobStatus.FAILED else JobStatus[status.name]


def as_stored(status: JobStatus | evalpool.JobStatus | int | str) -> str:
    """The name of a status, given as a member, a number or a name. Raises `BadArgument`."""
    if isinstance(status, (JobStatus, evalpool.JobStatus)):
        return status.name
    try:
        return status if isinstance(status, str) else JobStatus(status).name
    except ValueError:
        known = ", ".join(f"{member.value} ({member.name})" for member in JobStatus)
        raise evalpool.BadArgument(f"job_status is {status!r}; give one of {known}.") from None
