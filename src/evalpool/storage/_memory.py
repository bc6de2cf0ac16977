"""A storage in this process's memory: for tests, notebooks and searches that need no more."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NoReturn

from evalpool.errors import NotShareable
from evalpool.storage._base import Cursor, Storage
from evalpool.storage._counters import Counters
from evalpool.storage._events import Event

__all__ = ["MemoryStorage"]


class MemoryStorage(Storage):
    """Keeps events in a list; shared by the threads of one process.

    What is appended is kept by reference, whatever its type, and becomes JSON when it is loaded: an array of
    10 MB passes through at no cost.

    >>> storage = MemoryStorage()
    >>> job_id = storage.create_new_job(storage.create_new_search())
    >>> storage.store_job_out(job_id, {"objective": 0.0})
    >>> storage.load_job(job_id)["out"]
    {'objective': 0.0}
    """

    def __init__(self) -> None:
        super().__init__()
        self._events: list[Event] = []
        self._append_lock = threading.Lock()
        self._counters = Counters()

    def append(self, events: Sequence[Event]) -> None:
        with self._append_lock:
            self._events.extend(events)

    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        events = self._events[after or 0 :]
        return events, (after or 0) + len(events)

    def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
        if not self._counters.knows(search_id):
            self._search_known(search_id)
        return self._counters.take(search_id, n, cap)

    def __reduce__(self) -> NoReturn:
        raise NotShareable(
            "MemoryStorage cannot go to worker processes: each would see an empty copy. "
            "Use SharedMemoryStorage() or SQLiteStorage(path)."
        )

    def __repr__(self) -> str:
        return f"<MemoryStorage of {len(self._events)} events>"
