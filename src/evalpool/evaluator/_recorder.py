"""What the storage is told of jobs, and when. There are four ways; the kind of storage decides which one, once.

::

                      none              own             memory                durable
    created           -                 the job         append                append
    started           -                 (looked up)     the caller's thread   append_soon
    recorded          -                 append          the caller's thread   append_soon
    ended             -                 -               -                     append_soon, from any thread
    gathered          -                 the job         append, with its end  append, with its end if that is new

An error at submission is raised, and no job is submitted. All other events have happened already, so an error of the
storage must not lose them: see `StorageRecorder` (`_storage_recorder.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from evalpool.evaluator._job_events import JobEvents

if TYPE_CHECKING:
    from evalpool.evaluator._back_off import BackOff
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.evaluator._own_storage import OwnStorage
    from evalpool.jobs._job import Job
    from evalpool.outcomes import Worker
    from evalpool.storage._events import Event

__all__ = ["OwnRecorder", "Ownership", "Recorder", "recorder_for"]


class Ownership(Protocol):
    """Which of this evaluator's jobs are still its own; see `Fence`."""

    claimed: dict[int, Job[Any]]
    taken_up: set[int]

    def holds(self) -> bool: ...

    def hold_back(self, jobs: list[Job[Any]]) -> None: ...

    def keep_start(self) -> None: ...


class Recorder:
    """The base; also the recorder for a storage that keeps nothing: it records nothing.

    Attributes:
        keeps: whether anything is recorded; if not, `gathered` need not be called.
        is_quick: whether `gathered` takes no time and cannot fail, so that no signal need be handled during it.
        hears_starts: whether starts are recorded; if not, `started` need not be called.
        unrecorded: numbers of jobs that have ended, and whose outcome the storage does not have yet; the core adds them
            under its lock. None if outcomes are recorded only when jobs are gathered; then `outcomes` need not be
            called.
        noted: events of running jobs, which `write_noted` writes in the caller's thread.
    """

    keeps = False
    is_quick: ClassVar[bool] = True
    hears_starts: ClassVar[bool] = False
    unrecorded: set[int] | None = None
    noted: Iterable[Event] = ()

    def created(self, jobs: list[Job[Any]]) -> None:
        """Record new jobs, before they are submitted. Raises if they cannot be recorded. In the caller's thread."""

    def created_again(self, jobs: list[Job[Any]]) -> None:
        """As `created`, after an interrupt of it, when the storage may have them or not. Never raises."""

    def started(self, job: Job[Any], start: float, attempt: int, worker: Worker | None) -> None:
        """Record that a job begins to run, `start` seconds after the search. Any thread."""

    def recorded(self, job: Job[Any], budget: float, objective: Any) -> None:
        """Record an intermediate result of a running job. Any thread."""

    def outcomes(self, jobs: list[Job[Any]]) -> None:
        """Record the outcomes of jobs that have ended. Any thread, without a lock."""

    def outcomes_of_ours(self, jobs: list[Job[Any]]) -> None:
        """As `outcomes`, for jobs that are known to be ours."""

    def drop(self, job: Job[Any]) -> None:
        """Under the core's lock: do not record this job's outcome, because the job is another evaluator's."""

    def append_soon(self, events: list[Event]) -> bool:
        """Give events to the storage without waiting until they are written; False if that raised. Any thread."""
        return True

    def suspended(self, jobs: list[Job[Any]]) -> None:
        """Hear that `gather` or `close` returns jobs that are left to be resumed. In the caller's thread."""

    def gathered(self, jobs: list[Job[Any]]) -> None:
        """Record that jobs are gathered. In the caller's thread; returns when the storage's promise is fulfilled."""

    def write_noted(self) -> None:
        """Write the noted events of running jobs. In the caller's thread."""

    def write_rest(self) -> None:
        """Write what the storage could not take before. In the caller's thread, at the end."""

    def forget(self) -> None:
        """In a forked child: drop what is to be written; the parent writes it."""


class OwnRecorder(Recorder):
    """The recorder of an evaluator without a given storage: its `OwnStorage` keeps the jobs."""

    keeps = True

    def __init__(self, storage: OwnStorage, events: JobEvents, running: Callable[[], list[Job[Any]]]) -> None:
        storage.serve(events, running)
        self._append = storage.append
        self._events = events
        self.created = storage.take_created  # type: ignore[assignment,method-assign]
        self.created_again = storage.take_created  # type: ignore[assignment,method-assign]
        self.gathered = storage.take_finished  # type: ignore[method-assign]

    def recorded(self, job: Job[Any], budget: float, objective: Any) -> None:
        self._append([self._events.recorded(job, budget, objective)])


def recorder_for(
    search: OpenSearch,
    events: JobEvents,
    back_off: BackOff,
    ownership: Ownership,
    held: Callable[[list[Job[Any]]], list[Job[Any]]],
    running: Callable[[], list[Job[Any]]] = list,
) -> Recorder:
    """Return the recorder for the storage of `search`.

    Args:
        back_off: until when a storage that failed is not asked.
        ownership: whether jobs are still ours.
        held: returns the given jobs and all that have not been gathered; called if the storage has lost records.
        running: returns the jobs that run now.
    """
    from evalpool.evaluator._storage_recorder import DurableRecorder, MemoryRecorder

    if search.own is not None:
        return OwnRecorder(search.own, events, running)
    if not search.storage.keeps:
        return Recorder()
    if search.storage.durable:
        return DurableRecorder(search.storage, events, back_off, ownership, held)
    return MemoryRecorder(search.storage, events, back_off, ownership)
