"""The intermediate results of jobs, shown at the virtual times at which they would have been recorded.

::

    record()   in real time     recorded: it is kept; a job that is run again stops at the record that ended it
               its real end     mark: each record gets a time between the job's virtual start and its end
               a record's time  next: it is shown to the stopper, which may end the job here
                                truncate: what the job returns if it is stopped here is not known; so it is run once
                                more, up to this record
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from evalpool.simulation._runtimes import record_times

if TYPE_CHECKING:
    from evalpool.jobs._job import Job
    from evalpool.simulation._kernel import Kernel

__all__ = ["VirtualRecords"]

Record = tuple[float, Any]
"""Budget and objective."""


class VirtualRecords:
    """The records of an evaluator's jobs. One thread at a time calls the methods; any thread may call `recorded`."""

    def __init__(self) -> None:
        self._recorded: dict[int, list[Record]] = {}  # by job number
        self._to_come: dict[int, deque[Record]] = {}  # by the kernel's number: records whose virtual time has not come
        self._shown: dict[int, int] = {}  # by the kernel's number: how many records have been shown
        self._truncated: dict[int, int] = {}  # numbers of jobs that are run again -> the number of their last record

    def recorded(self, number: int, budget: float, objective: Any) -> bool:
        """Keep a record of job `number`; return whether the job shall stop now. Any thread.

        The stopper is asked later, at the record's virtual time.
        """
        records = self._recorded.setdefault(number, [])
        records.append((budget, objective))
        last = self._truncated.get(number)
        return last is not None and len(records) >= last

    def mark(self, kernel: Kernel, number: int, job: Job[Any]) -> None:
        """Set marks at the times of a job's records, when its end is known. `number` is the kernel's."""
        records = self._recorded.pop(job.number, None)
        if records:
            start = kernel.start_of(number)
            self._to_come[number] = deque(records)
            for time in record_times(records, start, start + kernel.charged(number)):
                kernel.mark(number, time)

    def drop(self, job: Job[Any]) -> None:
        """Drop the records of an attempt."""
        self._recorded.pop(job.number, None)

    def next(self, number: int) -> Record | None:
        """Return the next record of a job, whose virtual time has come; None if the job was stopped before."""
        left = self._to_come.get(number)
        if not left:
            return None
        self._shown[number] = self._shown.get(number, 0) + 1
        return left.popleft()

    def has_more(self, number: int) -> bool:
        """Whether there are records of this job that have not been shown."""
        return bool(self._to_come.get(number))

    def truncate(self, number: int, job: Job[Any]) -> None:
        """End the job at the record that was shown last; the job is run again up to there."""
        del self._to_come[number]
        self._truncated[job.number] = self._shown[number]

    def is_truncated(self, job: Job[Any]) -> bool:
        """Whether the job is being run again."""
        return job.number in self._truncated

    def untruncate(self, job: Job[Any]) -> bool:
        """Note that a job need not be run again any more; False if it was not truncated."""
        return self._truncated.pop(job.number, None) is not None

    def forget(self, number: int, job: Job[Any]) -> None:
        """Drop everything about a job that is delivered."""
        self._to_come.pop(number, None)
        self._shown.pop(number, None)
        self._recorded.pop(job.number, None)
        self._truncated.pop(job.number, None)
