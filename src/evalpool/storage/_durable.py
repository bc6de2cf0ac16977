"""The base of clients whose log someone may set back: a file, a directory, a server. It checks new numbers."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import ClassVar, TypeVar

from evalpool._log import get_logger
from evalpool.errors import UnknownSearch
from evalpool.storage._counters import check_count
from evalpool.storage._events import Event
from evalpool.storage._written import WrittenStorage

__all__ = ["DurableStorage"]

Batch = TypeVar("Batch")

_CREATIONS = frozenset({"created", "search"})

_log = get_logger("evalpool.storage")


class DurableStorage(WrittenStorage[Batch]):
    """Gives only numbers that this client has neither taken nor read, even if the counter of the store was set back.

    A subclass implements `_take` and the methods that `WrittenStorage` needs.
    """

    durable: ClassVar[bool] = True

    @abc.abstractmethod
    def _take(self, search_id: str, n: int, cap: int | None) -> int:
        """Take numbers as `reserve` does, with the counter in the store. `n` was checked."""

    def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
        check_count(n)
        known = self._next_known(search_id)  # before `_take`: numbers that other threads take meanwhile are larger
        try:
            first = self._take(search_id, n, cap)
        except UnknownSearch:
            if not known:
                raise
            self.flush()  # the search may be about to be recorded again
            self._read_anew()
            first = self._take(search_id, n, cap)
        while first < known:
            # Other clients may increase the counter at the same time: that leaves gaps, but gives no number twice.
            if first + n < known:
                self._take(search_id, known - first - n, None)
            self._read_anew()
            which = f"search {search_id}" if search_id else "its searches"
            _log.warning("%r gave number %d of %s again; the next number will be %d.", self, first, which, known)
            known = self._next_known(search_id)
            first = self._take(search_id, n, cap)
        self._numbers.keep_from(search_id, first + n)
        return first

    def append(self, events: Sequence[Event]) -> None:
        super().append(events)
        self._note(events)
        if events and events[-1].kind == "created" and events[-1].number is not None:
            self._numbers.last[events[-1].search_id] = events[-1].number

    def append_soon(self, events: Sequence[Event]) -> None:
        super().append_soon(events)
        self._note(events)

    def _note(self, events: Sequence[Event]) -> None:
        """Remember which jobs and searches this client created, until they are read back.

        A batch that creates jobs begins with such an event, so the first event tells.
        """
        if events and events[0].kind in _CREATIONS:
            for event in events:
                if event.kind == "created" and event.number is not None:
                    self._numbers.add(event.search_id, event.number)
                elif event.kind == "search":
                    self._numbers.searches.add(event.search_id)
