"""What the storage hears of jobs, and when. Which of four ways that is, is chosen once, by the storage.

::

                      none              own             memory                durable
    created           -                 the job         append                append
    started           -                 -               the caller's thread   append_soon
    recorded          -                 append          the caller's thread   append_soon
    ended             -                 -               -                     append_soon, from any thread
    gathered          -                 the job         append, with its end  append, with its end if that is new

At submission trouble is raised, before a job is taken. All else has happened already, so nothing that goes wrong with
the storage may lose it: see `StorageRecorder` (`_storage_recorder.py`).
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
    """Whose the jobs are that this evaluator submitted; see `Fence`."""

    claimed: dict[int, Job[Any]]
    taken_up: set[int]

    def holds(self) -> bool: ...

    def hold_back(self, jobs: list[Job[Any]]) -> None: ...

    def keep_start(self) -> None: ...


class Recorder:
    """What a storage hears that keeps nothing: nothing.

    Attributes:
        keeps: does it hear anything? Else `gathered` need not be called.
        hears_starts: of each start; else `started` need not be called.
        unrecorded: numbers of jobs that have ended, and whose outcome the storage does not have; under the core's lock
            each is added. None where the storage does not hear of an end before the job is gathered; then `outcomes`
            need not be called.
        noted: events of running jobs, to be written in the caller's thread, by `write_noted`.
    """

    keeps = False
    hears_starts: ClassVar[bool] = False
    unrecorded: set[int] | None = None
    noted: Iterable[Event] = ()

    def created(self, jobs: list[Job[Any]]) -> None:
        """New jobs, before they are taken. Raises what prevents their records. In the caller's thread."""

    def created_again(self, jobs: list[Job[Any]]) -> None:
        """As `created`, where an interrupt struck, and it is not known whether the storage has them. Never raises."""

    def started(self, job: Job[Any], start: float, attempt: int, worker: Worker | None) -> None:
        """A job begins to run, `start` seconds after the search. Any thread."""

    def recorded(self, job: Job[Any], budget: float, objective: Any) -> None:
        """A running job gave an intermediate result. Any thread."""

    def outcomes(self, jobs: list[Job[Any]]) -> None:
        """Jobs have ended. Any thread, without a lock."""

    def outcomes_of_ours(self, jobs: list[Job[Any]]) -> None:
        """As `outcomes`, of jobs that are known to be ours."""

    def drop(self, job: Job[Any]) -> None:
        """Under the core's lock: what this job gave is not to be recorded, for it is another evaluator's."""

    def append_soon(self, events: list[Event]) -> bool:
        """Let the storage have events when it can; False if that raised. Any thread."""
        return True

    def suspended(self, jobs: list[Job[Any]]) -> None:
        """Jobs that are left to be resumed are given back. In the caller's thread."""

    def gathered(self, jobs: list[Job[Any]]) -> None:
        """Jobs are given back. In the caller's thread; returns when what it promises is kept."""

    def write_noted(self) -> None:
        """Write what was noted of running jobs. In the caller's thread."""

    def write_rest(self) -> None:
        """Write what a storage could not take before. In the caller's thread, at the end."""

    def forget(self) -> None:
        """In a forked child: what is to be written is the parent's."""


class OwnRecorder(Recorder):
    """Of an evaluator that was given no storage: its own one has the jobs themselves, and makes events of them."""

    keeps = True

    def __init__(self, storage: OwnStorage, events: JobEvents) -> None:
        storage.serve(events)
        self._append = storage.append
        self._events = events
        self.created = storage.take_created  # type: ignore[assignment,method-assign]
        self.created_again = storage.take_created  # type: ignore[assignment,method-assign]
        self.gathered = storage.take_finished  # type: ignore[assignment,method-assign]

    def recorded(self, job: Job[Any], budget: float, objective: Any) -> None:
        self._append([self._events.recorded(job, budget, objective)])


def recorder_for(
    search: OpenSearch,
    events: JobEvents,
    back_off: BackOff,
    ownership: Ownership,
    held: Callable[[list[Job[Any]]], list[Job[Any]]],
) -> Recorder:
    """The recorder for the storage of `search`.

    Args:
        back_off: how long it is left alone after it failed.
        ownership: whether jobs are still ours.
        held: with some jobs, all those that have not been given back; asked where the storage has lost records.
    """
    from evalpool.evaluator._storage_recorder import DurableRecorder, MemoryRecorder

    if search.own is not None:
        return OwnRecorder(search.own, events)
    if not search.storage.keeps:
        return Recorder()
    if search.storage.durable:
        return DurableRecorder(search.storage, events, back_off, ownership, held)
    return MemoryRecorder(search.storage, events, back_off, ownership)
