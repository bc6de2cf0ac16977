"""The values of jobs that nobody holds any more, in columns: a quarter of what the job objects take."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from evalpool.jobs._job import Job
from evalpool.outcomes import JobStatus, Outcome

if TYPE_CHECKING:
    from evalpool.jobs._job import Owner

__all__ = ["PackedJobs"]

DONE = JobStatus.DONE
_NOTHING = (None, None, None, None)
"""Output, metadata, error and kind of a job that ended with an objective alone."""
_NUMBERS = 6
"""Numbers of each job in `PackedJobs._numbers`."""


class PackedJobs:
    """Keeps jobs as their values, and makes equal jobs of them again.

    Only jobs that ended with an objective and nothing else are packed: no failure, no output or metadata of their own,
    no options, no attributes and metadata of the user's. Others are few, or large anyway.

    ::

        _numbers   number, attempts, submitted, start, end, gathered    as floats, which keep whole numbers below 2**53
        _values    the names of the parameters, worker, objective, and the values of the parameters
    """

    def __init__(self) -> None:
        self._numbers = array("d")
        self._begins = array("q", [0])  # where the values of each job begin, and where the last ones end
        self._values: list[Any] = []
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}  # each set of names once
        self._common: tuple[Owner | None, str, str] | None = None  # evaluator, search and type of all jobs

    def __len__(self) -> int:
        return len(self._begins) - 1

    def add(self, job: Job[Any]) -> bool:
        """Keep the values of a job; False if it has more than is kept here."""
        outcome = job._outcome
        if (
            outcome is None
            or outcome[0] is not DONE
            or outcome[2:6] != _NOTHING
            or outcome[9] is not None
            or job._extra is not None
            or job._errors is not None
            or job._virtual is not None
            or job._history is not None
            or job._stop is not None
            or job._seed_number is not None
            or type(job) is not Job
            or job.__dict__
        ):
            return False
        start, end = outcome[6], outcome[7]
        if start is None or end is None or job._gathered is None:
            return False
        if job._metadata is not None and not _as_made(job):
            return False
        if self._common is None:
            self._common = job._evaluator, job._search, job.job_type
        args = job.args
        names = tuple(args)
        self._values += (self._names.setdefault(names, names), outcome[8], outcome[1], *args.values())
        self._numbers.extend((job.number, job.attempts, job._submitted, start, end, job._gathered))
        self._begins.append(len(self._values))  # at last: if an interrupt comes before, the job is not packed
        return True

    def forget_unfinished(self) -> None:
        """Remove the values of a job at whose `add` an interrupt came."""
        del self._values[self._begins[-1] :]
        del self._numbers[_NUMBERS * len(self) :]

    def get(self, index: int) -> Job[Any]:
        """A job that is equal to the one that was packed at this place."""
        assert self._common is not None
        evaluator, search, job_type = self._common
        names, worker, objective, *values = self._values[self._begins[index] : self._begins[index + 1]]
        place = _NUMBERS * index
        number, attempts, submitted, start, end, gathered = self._numbers[place : place + _NUMBERS]
        args = dict(zip(names, values, strict=True))
        job: Job[Any] = Job(evaluator, None, search, int(number), args, job_type, submitted)
        job._status, job.attempts, job._gathered = DONE, int(attempts), gathered
        job._outcome = Outcome(DONE, objective, start=start, end=end, worker=worker)
        return job


def _as_made(job: Job[Any]) -> bool:
    """Whether the metadata of a job that nobody else holds are still those that were made for it."""
    given, job._metadata = job._metadata, None
    made = job.metadata
    job._metadata = given
    return made == given
