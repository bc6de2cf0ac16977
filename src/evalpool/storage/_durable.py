"""A client whose log may be set back by someone else: a file, a directory, a server. Its numbers are checked."""

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

_BIRTHS = frozenset({"created", "search"})

_log = get_logger("evalpool.storage")


class DurableStorage(WrittenStorage[Batch]):
    """Gives numbers that neither this client nor its fold knows, whatever became of the store's own counter.

    A subclass implements `_take` beside what `WrittenStorage` asks for.
    """

    durable: ClassVar[bool] = True

    @abc.abstractmethod
    def _take(self, search_id: str, n: int, cap: int | None) -> int:
        """As `reserve`, by the counter that the store keeps. `n` is a number of numbers."""

    def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
        check_count(n)
        known = self._next_known(search_id)  # before: what other threads take meanwhile lies behind
        try:
            first = self._take(search_id, n, cap)
        except UnknownSearch:
            if not known:
                raise
            self.flush()  # or it is about to be recorded again
            self._read_anew()
            first = self._take(search_id, n, cap)
        while first < known:
            # Others may bring it forward at the same time: then there are gaps, but no number comes twice.
            if first + n < known:
                self._take(search_id, known - first - n, None)
            self._read_anew()
            which = f"search {search_id}" if search_id else "its searches"
            _log.warning("%r gave number %d of %s again; it goes on with %d.", self, first, which, known)
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
        """Remember whose jobs these are, until they are read back. New jobs come together, and by no other events."""
        if events and events[0].kind in _BIRTHS:
            for event in events:
                if event.kind == "created" and event.number is not None:
                    self._numbers.add(event.search_id, event.number)
                elif event.kind == "search":
                    self._numbers.searches.add(event.search_id)
