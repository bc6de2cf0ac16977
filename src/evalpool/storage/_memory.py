"""A storage in the memory of this process: for tests, notebooks and searches whose jobs need not be kept longer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import chain
from typing import Any, NoReturn

from evalpool.errors import NotShareable
from evalpool.storage._base import Cursor, Storage
from evalpool.storage._counters import Counters
from evalpool.storage._events import Event

__all__ = ["MemoryStorage"]

_WIDTH = len(Event._fields)


class MemoryStorage(Storage):
    """Keeps events in a list, which the threads of one process share.

    An appended value is kept by reference, whatever its type, and is converted to JSON only when it is loaded. So an
    array of 10 MB costs nothing when it is stored.

    >>> storage = MemoryStorage()
    >>> job_id = storage.create_new_job(storage.create_new_search())
    >>> storage.store_job_out(job_id, {"objective": 0.0})
    >>> storage.load_job(job_id)["out"]
    {'objective': 0.0}
    """

    def __init__(self) -> None:
        super().__init__()
        # The fields of all events, one after the other. The garbage collector examines each tuple that is kept again
        # and again: with a list of events, this took most of the time when 100 000 jobs were appended.
        self._fields: list[Any] = []
        self._append_lock = threading.Lock()
        self._counters = Counters()

    def append(self, events: Sequence[Event]) -> None:
        with self._append_lock:
            self._fields.extend(chain.from_iterable(events))

    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        with self._append_lock:
            fields = iter(self._fields[after or 0 :])
            end = len(self._fields)
        return list(map(Event._make, zip(*[fields] * _WIDTH, strict=True))), end

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
        return f"<MemoryStorage of {len(self._fields) // _WIDTH} events>"
