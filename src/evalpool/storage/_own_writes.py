"""Keeps the events that a client wrote and has not read back yet, so that it need not parse and check them again.

A client that reads a log does not trust it: it parses the text and checks each event. Events that this client wrote
itself were already converted and checked when they were written. So the client keeps them in the form in which it would
read them, together with their position in the log. The fold takes them from here if they come directly after what was
folded before. Events of other clients, and all that are not kept here, are read from the log.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

__all__ = ["OwnWrites"]

MOST = 50_000
"""How many events are kept. If more are written before anybody reads, none is kept: they are read from the log."""

WIDTH = 5
"""Fields of an event."""


class _Part(NamedTuple):
    begin: Any
    end: Any
    fields: list[Any]


class OwnWrites:
    """Keeps parts of a log, in the order of the log. Positions in the log can be compared. Thread-safe.

    Of the events, only their fields are kept, one after the other, since the garbage collector would examine each tuple
    that is kept again and again.
    """

    def __init__(self) -> None:
        self._parts: deque[_Part] = deque()
        self._size = 0
        self._lock = threading.Lock()

    def add(self, begin: Any, end: Any, fields: list[Any]) -> None:
        """Keep the events that have these fields. They were written from position `begin` up to position `end`."""
        with self._lock:
            if self._parts and begin < self._parts[-1].end:  # the log was set back
                self._clear()
            self._size += len(fields)
            if self._size > MOST * WIDTH:
                self._clear()
            else:
                self._parts.append(_Part(begin, end, fields))

    def take(self, begin: Any) -> tuple[list[Any], Any]:
        """Return the fields of the events from position `begin` on, and the position after them.

        If no event at this position is kept, return no fields and `begin` itself.
        """
        found: list[Any] = []
        with self._lock:
            parts = self._parts
            while parts and parts[0].begin <= begin:
                part = parts.popleft()
                self._size -= len(part.fields)
                if part.begin == begin:  # else it was read from the log
                    found = found + part.fields if found else part.fields
                    begin = part.end
        return found, begin

    def clear(self) -> None:
        """Forget all events, so that they are read from the log."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        self._parts.clear()
        self._size = 0
