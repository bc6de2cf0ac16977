"""Records to a storage that the user gave. No error of the storage loses a record or stops a search.

::

    _write(events)     events that could not be written before come first
      append           committed when this returns
        NotJSON        values that are not JSON are replaced by their text
        it fails       events are kept here, with one line in the log; then the storage is not asked for a while
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._interrupts import from_a_handler
from evalpool._json import plain
from evalpool._log import get_logger
from evalpool.errors import NotJSON, StorageError
from evalpool.evaluator._recorder import Ownership, Recorder
from evalpool.outcomes import FailureKind

if TYPE_CHECKING:
    from evalpool.evaluator._back_off import BackOff
    from evalpool.evaluator._job_events import JobEvents
    from evalpool.jobs._job import Job
    from evalpool.outcomes import Worker
    from evalpool.storage import Storage
    from evalpool.storage._events import Event

__all__ = ["DurableRecorder", "MemoryRecorder", "StorageRecorder"]

logger = get_logger()


class StorageRecorder(Recorder):
    """The common base: submissions are recorded at once, and events that have happened are never lost.

    Args as for `recorder_for`.
    """

    keeps = hears_starts = True
    is_quick = False

    def __init__(self, storage: Storage, events: JobEvents, back_off: BackOff, ownership: Ownership) -> None:
        self._storage = storage
        self._events = events
        self._back_off = back_off
        self._ownership = ownership
        self.noted: deque[Event] = deque()
        self._unwritten: list[Event] = []
        self._failing = False  # whether the last write failed

    def created(self, jobs: list[Job[Any]]) -> None:
        self._storage.append([self._events.created(job) for job in jobs])

    def created_again(self, jobs: list[Job[Any]]) -> None:
        self._append_or_keep([self._events.created(job) for job in jobs])

    def started(self, job: Job[Any], start: float, attempt: int, worker: Worker | None) -> None:
        self._note(self._events.started(job, start, attempt, worker))
        if job.number in self._ownership.taken_up:
            self._ownership.keep_start()

    def recorded(self, job: Job[Any], budget: float, objective: Any) -> None:
        self._note(self._events.recorded(job, budget, objective))

    def _note(self, event: Event) -> None:
        """Keep an event of a running job for `write_noted`."""
        self.noted.append(event)

    def write_noted(self) -> None:
        events: list[Event] = []
        try:
            while self.noted:
                with contextlib.suppress(IndexError):  # another caller's thread was faster
                    events.append(self.noted.popleft())
            if events:
                self._write(events)
        except BaseException:  # an interrupt: the events are nowhere else
            self.noted.extendleft(reversed(events))
            raise

    def write_rest(self) -> None:
        if self._unwritten:
            self._back_off.end()
            self._write([])

    def forget(self) -> None:
        self.noted.clear()
        self._unwritten = []

    def _write(self, events: list[Event]) -> None:
        # Events that were kept back exist only here: whatever interrupts this, they are written or kept back again.
        # If the new events are not written, the caller records them again.
        kept: list[Event] = []
        try:
            if self._unwritten:
                kept, self._unwritten = self._unwritten, []
                events = [*kept, *events]
            self._write_or_keep(events)
        except BaseException:
            if kept:
                self._unwritten = [*kept, *self._unwritten]
            raise

    def _write_or_keep(self, events: list[Event]) -> None:
        """Write events, or keep them back. Nothing may follow after either: an interrupt there would repeat them."""
        if self._back_off.backing_off():
            self._keep_back(events)
        else:
            began = monotonic()
            try:
                self._append(events); self._failing = False  # noqa: E702  # fmt: skip
            except Exception as error:  # a storage that is not ours may raise any
                if from_a_handler(error):
                    raise
                self._back_off.back_off(began)
                self._say_not_written(error)
                self._failing = True
                self._keep_back(events)

    def _append(self, events: list[Event]) -> None:
        try:
            self._storage.append(events)
        except NotJSON as error:
            logger.warning("%s. What is not JSON is kept as its text in the records.", error)
            self._append_text([event._replace(data=plain(event.data, lenient=True)) for event in events])

    def _append_text(self, events: list[Event]) -> None:
        """Append events whose values are all JSON now."""
        self._storage.append(events)

    def _keep_back(self, events: list[Event]) -> None:
        """Keep events that could not be written; they are written before the next ones."""
        self._unwritten = [*events, *self._unwritten]

    def append_soon(self, events: list[Event]) -> bool:
        try:
            self._storage.append_soon(events)
        except Exception as error:
            if from_a_handler(error):
                raise
            self._say_failing(error)
            return False
        return True

    def _append_or_keep(self, events: list[Event]) -> None:
        if not self.append_soon(events):
            self._unwritten = [*self._unwritten, *events]

    def _say_not_written(self, error: Exception) -> None:
        self._say_failing(error)

    def _say_failing(self, error: Exception) -> None:
        """Log that the storage could not write; once, until it can again."""
        if not self._failing:
            foreseen = isinstance(error, StorageError)
            text = str(error) if foreseen else f"{type(self._storage).__name__} raised {type(error).__name__}."
            text = f"{text} Records are kept in memory and written when it is possible."
            logger.error("%s", text, exc_info=None if foreseen else error)
        self._failing = True


class MemoryRecorder(StorageRecorder):
    """The recorder for a storage that ends with the program: one event, at gather, records a job's end."""

    def gathered(self, jobs: list[Job[Any]]) -> None:
        self._write([self._events.ended_and_gathered(job) for job in jobs])


class DurableRecorder(StorageRecorder):
    """The recorder for a storage that outlives the program: its writer records everything as soon as it is known.

    What `gather` returns is committed. Two threads may record an outcome: the one that saw the job's end, and the one
    that gathers the job. Whichever is first removes the job's number from `unrecorded` and records the outcome.
    """

    unrecorded: set[int]

    def __init__(
        self,
        storage: Storage,
        events: JobEvents,
        back_off: BackOff,
        ownership: Ownership,
        held: Callable[[list[Job[Any]]], list[Job[Any]]],
    ) -> None:
        super().__init__(storage, events, back_off, ownership)
        self._held = held
        self._just_gathered: list[Job[Any]] = []
        self.unrecorded = set()
        self._lock = threading.Lock()  # held to remove numbers from `unrecorded`
        storage._call_with_lost_jobs(self.record_again)

    def _note(self, event: Event) -> None:
        if not self.append_soon([event]):
            self.noted.append(event)

    def outcomes(self, jobs: list[Job[Any]]) -> None:
        if self._ownership.holds():
            self.outcomes_of_ours(jobs)
        else:
            self._ownership.hold_back(jobs)

    def outcomes_of_ours(self, jobs: list[Job[Any]]) -> None:
        """As `outcomes`, for jobs that are ours unless they are in `claimed`."""
        with self._lock:
            unrecorded, claimed = self.unrecorded, self._ownership.claimed
            jobs = [job for job in jobs if job.number in unrecorded and job.number not in claimed]
            unrecorded.difference_update([job.number for job in jobs])
            # A job that never ran and is left to be resumed is already ready in the storage.
            events = [self._events.outcome(job) for job in jobs if _is_news(job)]
            if events and not self.append_soon(events):
                unrecorded.update(job.number for job in jobs)  # `gathered` commits them

    def drop(self, job: Job[Any]) -> None:
        self.unrecorded.discard(job.number)

    def suspended(self, jobs: list[Job[Any]]) -> None:
        events = [self._events.outcome(job) for job in jobs if job.number in self.unrecorded and job.attempts]
        if events:
            self._write(events)

    def gathered(self, jobs: list[Job[Any]]) -> None:
        self._just_gathered = jobs
        with self._lock:
            fast = [job for job in jobs if job.number in self.unrecorded] if self.unrecorded else []
            numbers = [job.number for job in fast]
            self.unrecorded.difference_update(numbers)
        try:
            self._write([*map(self._events.outcome, fast), *map(self._events.gathered, jobs)])
        except BaseException:
            with self._lock:
                self.unrecorded.update(numbers)
            raise

    def record_again(self, lost: list[str]) -> None:
        """Record lost jobs again that are still known here. Any thread; never raises.

        The storage tells each recorder which of its jobs are lost (`evalpool.storage._lost`). Jobs that were gathered
        long ago are not kept here. Jobs that wait, run or were not gathered yet are; so are those gathered last, whose
        end may have been recorded after the storage had lost their creation.
        """
        concerned = set(lost)
        held = self._held(self._just_gathered)
        jobs = {job.number: job for job in held if job._evaluator is not None and job.id in concerned}
        events: list[Event] = []
        for job in jobs.values():
            events.append(self._events.created(job))
            if job._outcome is not None:
                events.append(self._events.outcome(job))
        if events:
            self._append_or_keep(events)

    def _append_text(self, events: list[Event]) -> None:
        self._storage.append_soon(events)  # if a value is too large, it keeps as much of it as it can
        self._storage.flush()

    def _keep_back(self, events: list[Event]) -> None:
        if not self.append_soon(events):  # else the storage keeps them, tries again, and logs that once
            super()._keep_back(events)

    def _say_not_written(self, error: Exception) -> None:
        if not isinstance(error, StorageError):
            self._say_failing(error)


def _is_news(job: Job[Any]) -> bool:
    return bool(job.attempts) or job.kind is not FailureKind.SUSPENDED
