"""A storage that keeps no jobs: for millions of jobs whose results the search itself keeps in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from evalpool.errors import NotShareable
from evalpool.storage._base import Cursor, Storage
from evalpool.storage._counters import Counters
from evalpool.storage._events import Event

__all__ = ["NullStorage"]


class NullStorage(Storage):
    """Counts jobs and keeps its searches. It keeps nothing about jobs, so no job can be loaded."""

    keeps = False

    def __init__(self) -> None:
        super().__init__()
        self._searches: list[Event] = []
        self._counters = Counters()

    def append(self, events: Sequence[Event]) -> None:
        if events and events[0].kind == "search":
            self._searches.append(events[0])

    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        events = self._searches[after or 0 :]
        return events, (after or 0) + len(events)

    def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
        if not self._counters.knows(search_id):
            self._search_known(search_id)
        return self._counters.take(search_id, n, cap)

    def __reduce__(self) -> NoReturn:
        raise NotShareable(
            "NullStorage cannot go to worker processes: each copy would give the same job numbers again. "
            "Use SharedMemoryStorage() or SQLiteStorage(path)."
        )
