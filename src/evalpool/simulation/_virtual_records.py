"""What jobs record, at the virtual times at which they would have recorded it.

::

    record()   in real time     recorded: kept; a job that is run again stops at the record that ended it
               its real end     mark: each record gets a time between the job's virtual start and its end
               a record's time  next: it is shown to the stopper, which may end the job here
                                truncate: what the job returns when it is stopped here, only it knows; so it is run
                                once more, up to this record
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
    """The records of the jobs of one evaluator. Used by one caller at a time, but `recorded`."""

    def __init__(self) -> None:
        self._recorded: dict[int, list[Record]] = {}  # by job number
        self._to_come: dict[int, deque[Record]] = {}  # by the kernel's number: those whose time has not come
        self._shown: dict[int, int] = {}  # by the kernel's number: how many have been shown
        self._truncated: dict[int, int] = {}  # job numbers run again -> the record up to which

    def recorded(self, number: int, budget: float, objective: Any) -> bool:
        """Job `number` recorded; shall it stop? Any thread. What a stopper says of it is asked at its virtual time."""
        records = self._recorded.setdefault(number, [])
        records.append((budget, objective))
        last = self._truncated.get(number)
        return last is not None and len(records) >= last

    def mark(self, kernel: Kernel, number: int, job: Job[Any]) -> None:
        """A job's end is known: let its records be seen at their times. `number` is the kernel's."""
        records = self._recorded.pop(job.number, None)
        if records:
            start = kernel.start_of(number)
            self._to_come[number] = deque(records)
            for time in record_times(records, start, start + kernel.charged(number)):
                kernel.mark(number, time)

    def drop(self, job: Job[Any]) -> None:
        """Nobody looks at what this attempt recorded."""
        self._recorded.pop(job.number, None)

    def next(self, number: int) -> Record | None:
        """The record of a job whose time has come; None if the job was stopped before."""
        left = self._to_come.get(number)
        if not left:
            return None
        self._shown[number] = self._shown.get(number, 0) + 1
        return left.popleft()

    def has_more(self, number: int) -> bool:
        """Are there records of this job that have not been shown?"""
        return bool(self._to_come.get(number))

    def truncate(self, number: int, job: Job[Any]) -> None:
        """The job ends at the record that was shown last, and is run again up to there."""
        del self._to_come[number]
        self._truncated[job.number] = self._shown[number]

    def is_truncated(self, job: Job[Any]) -> bool:
        """Is it run again?"""
        return job.number in self._truncated

    def untruncate(self, job: Job[Any]) -> bool:
        """The job is not run again any more, for it has been, or nobody wants it; False if it was not to be."""
        return self._truncated.pop(job.number, None) is not None

    def forget(self, number: int, job: Job[Any]) -> None:
        """The job is given back."""
        self._to_come.pop(number, None)
        self._shown.pop(number, None)
        self._recorded.pop(job.number, None)
        self._truncated.pop(job.number, None)
