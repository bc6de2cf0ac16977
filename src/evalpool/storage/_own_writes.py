"""What a client wrote and has not read back yet: it need not parse and check its own text again.

Whoever reads a log trusts nothing in it: text is parsed, and each event is checked. What this client wrote itself was
converted and checked when it was written. So it keeps that, in the form in which it would be read, with the place in
the log where it stands; the fold takes it from here as long as it follows what was folded before. What others wrote,
and all that is not here, is read from the log.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

__all__ = ["OwnWrites"]

MOST = 50_000
"""Events that are kept. Where nobody looks for so long, they are read from the log."""

WIDTH = 5
"""Fields of an event."""


class _Part(NamedTuple):
    begin: Any
    end: Any
    fields: list[Any]


class OwnWrites:
    """Parts of a log in its order, from places that can be compared. Thread-safe.

    Events are kept as their fields, one behind the other, since the garbage collector looks again and again at each
    tuple that is kept.
    """

    def __init__(self) -> None:
        self._parts: deque[_Part] = deque()
        self._size = 0
        self._lock = threading.Lock()

    def add(self, begin: Any, end: Any, fields: list[Any]) -> None:
        """The events of these fields were written from `begin` on, and what comes next stands at `end`."""
        with self._lock:
            if self._parts and begin < self._parts[-1].end:  # the log was set back
                self._clear()
            self._size += len(fields)
            if self._size > MOST * WIDTH:
                self._clear()
            else:
                self._parts.append(_Part(begin, end, fields))

    def take(self, begin: Any) -> tuple[list[Any], Any]:
        """The fields of the events from that place on, and the place behind them; none, and the same, if not here."""
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
        """All is to be read from the log."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        self._parts.clear()
        self._size = 0
