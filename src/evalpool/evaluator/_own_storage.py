"""The storage of an evaluator that was given none: it keeps the job objects, and makes records of them on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool.storage._events import Event
from evalpool.storage._memory import MemoryStorage

if TYPE_CHECKING:
    from evalpool.evaluator._job_events import JobEvents
    from evalpool.jobs._job import Job

__all__ = ["OwnStorage"]


class OwnStorage(MemoryStorage):
    """A `MemoryStorage` that takes whole jobs from its evaluator.

    Two list entries per job are a tenth of what its events cost, in time and in memory; most programs that give no
    storage never look into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._events: JobEvents | None = None
        self._created: list[Job[Any]] = []
        self._finished: list[Job[Any]] = []
        self.take_created = self._created.extend
        self.take_finished = self._finished.extend

    def serve(self, events: JobEvents) -> None:
        """Set what makes the events of jobs."""
        self._events = events

    @property
    def finished(self) -> list[Job[Any]]:
        """The gathered jobs, in the order in which they were gathered."""
        return list(self._finished)

    def read(self, after: Any) -> tuple[list[Event], Any]:
        kept, created, finished = after or (None, 0, 0)
        events, kept = super().read(kept)
        new_created, new_finished = self._created[created:], self._finished[finished:]
        if self._events is not None:
            events += map(self._events.created, new_created)
            events += map(self._events.ended_and_gathered, new_finished)
        return events, (kept, created + len(new_created), finished + len(new_finished))
