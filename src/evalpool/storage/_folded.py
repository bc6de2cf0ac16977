"""What a client has read of its log, kept folded: a look costs what is new since the last one.

A store that someone sets back to an earlier state shows here, in two ways: a cursor stands behind events that are gone,
or a job that this client recorded is no longer there. Then all is read anew and compared with what was known
(`_lost.py`).
"""

from __future__ import annotations

import abc
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from evalpool.errors import UnknownJob, UnknownSearch
from evalpool.storage._events import Event
from evalpool.storage._fold import JobState, SearchState, State, fold
from evalpool.storage._lost import CursorLost, KnownNumbers, WentBack, compare

__all__ = ["SEARCHES", "Cursor", "FoldedLog", "some"]

Cursor: TypeAlias = Any
"""Where a reader stands in a log. Made and understood by the client alone."""

SEARCHES = ""
"""`reserve(SEARCHES, 1)` gives the number of a new search: searches are counted as jobs are."""

_SHOWN_IDS = 5


class FoldedLog(abc.ABC):
    """The state that a log's events add up to, of one client. Safe to use from several threads."""

    def __init__(self) -> None:
        self._state = State()
        self._cursor: Cursor | None = None
        self._torn = False  # an interrupt struck while events were folded
        self._fold_lock = threading.RLock()
        self._numbers = KnownNumbers()  # that this client took, where they could be given again
        self._authors: list[weakref.WeakMethod[Callable[[list[str]], None]]] = []  # who can write lost jobs again

    @abc.abstractmethod
    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        """See `Storage.read`."""

    def _take_own(self, after: Cursor) -> tuple[Sequence[Any], Cursor]:
        """What this client wrote behind the cursor and still has, as the fields of events, and the cursor behind that.

        `read` gives what follows, and says if the log no longer has what was written. Each event is given once.
        """
        return (), after

    @abc.abstractmethod
    def append_soon(self, events: Sequence[Event]) -> None:
        """See `Storage.append_soon`."""

    def _sync(self) -> State:
        """Fold what is new. Under `_fold_lock`, as is every use of what it returns.

        An interrupt may come between any two steps. Before the fold begins nothing has been taken; what was folded in
        part cannot be folded again, for an event may have been applied by half, so then all is read anew.
        """
        if self._torn:
            self._state = State()
            self._cursor = None
            self._torn = False
        committed = dict(self._numbers.last)
        cursor = self._cursor
        try:
            own, cursor = ((), None) if cursor is None else self._take_own(cursor)
            events, cursor = self.read(cursor)
        except CursorLost:
            self._read_anew()
            return self._state
        if own or events:
            self._torn = True
            self._state.apply_read(own, events)
        self._cursor = cursor
        self._torn = False
        for search_id, number in committed.items():
            if not self._state.has_job(search_id, number):
                self._read_anew()
                break
        return self._state

    def _read_anew(self) -> None:
        """Compare the store with what is known of it. Raises `WentBack`, once, if jobs are lost."""
        with self._fold_lock:
            before = self._state
            events, cursor = self.read(None)
            now = fold(events)
            self._numbers.keep_from(SEARCHES, _next_search(before))
            loss = compare(before, now, self._numbers)
            self._state, self._cursor, self._torn = now, cursor, False
            if not loss.jobs:
                return
            if loss.again:
                self.append_soon(loss.again)
            for author in self._authors:
                if (record := author()) is not None:
                    record(loss.jobs)
        raise WentBack(repr(self), loss.jobs, loss.written_again)

    def _tell_losses_to(self, author: Callable[[list[str]], None]) -> None:
        """Call this bound method with the ids of jobs whose records are lost, for as long as its object is there."""
        self._authors = [*(known for known in self._authors if known() is not None), weakref.WeakMethod(author)]

    def _next_known(self, search_id: str) -> int:
        """The first number of the search that neither this client took nor its fold has heard of."""
        with self._fold_lock:
            if search_id == SEARCHES:
                found = _next_search(self._sync())
            else:
                if not self._numbers.next(search_id):  # else the store may have lost it
                    self._search_known(search_id)
                search = self._state.searches.get(search_id)
                found = 0 if search is None else search.next_number
            return max(found, self._numbers.next(search_id))

    @staticmethod
    def _search_ids(state: State) -> list[str]:
        known = [search_id for search_id, search in state.searches.items() if search.start is not None]
        return sorted(known, key=lambda search_id: (not search_id.isdigit(), len(search_id), search_id))

    def _search(self, search_id: str) -> SearchState:
        state = self._sync()
        search = state.searches.get(search_id)
        if search is None or search.start is None:
            raise UnknownSearch(f"no search {search_id!r} in {self!r}; it holds {some(self._search_ids(state))}.")
        return search

    def _jobs(self, search_id: str) -> list[JobState]:
        jobs = self._search(search_id).jobs
        return [jobs[number] for number in sorted(jobs) if jobs[number].created is not None]

    def _job(self, job_id: str, *, fresh: bool = False) -> JobState:
        search_id, number = _split(job_id)
        state = self._state if fresh else self._sync()
        search = state.searches.get(search_id)
        job = None if search is None else search.jobs.get(number)
        if job is None or job.created is None:
            if search is None or search.start is None:
                exists = f"no search {search_id!r} in {self!r}"
            else:
                last = max(search.jobs, default=-1)
                exists = f"search {search_id} has jobs up to {search_id}.{last}" if last >= 0 else "it has none"
            raise UnknownJob(f"no job {job_id!r}: {exists}.")
        return job

    def _search_known(self, search_id: str) -> None:
        """Raise `UnknownSearch` unless the search exists. Costs a look-up once it was seen."""
        with self._fold_lock:
            known = self._state.searches.get(search_id)
            if known is None or known.start is None:
                self._search(search_id)

    def _job_known(self, job_id: str) -> tuple[str, int]:
        """The parts of the id. Raises `UnknownJob` unless the job exists; a look-up once it was seen."""
        search_id, number = _split(job_id)
        with self._fold_lock:
            search = self._state.searches.get(search_id)
            job = None if search is None else search.jobs.get(number)
            if job is None or job.created is None:
                self._job(job_id)
        return search_id, number

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _next_search(state: State) -> int:
    return max((int(search_id) + 1 for search_id in state.searches if search_id.isdigit()), default=0)


def _split(job_id: str) -> tuple[str, int]:
    search_id, _, number = job_id.rpartition(".") if isinstance(job_id, str) else ("", "", "")
    if not search_id or not (number.isascii() and number.isdigit()):
        raise UnknownJob(f"no job {job_id!r}: an id is '<search>.<n>', as '0.12'.")
    return search_id, int(number)


def some(names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        return "none"
    shown = ", ".join(repr(name) for name in names[-_SHOWN_IDS:])
    return f"{shown} (the last {_SHOWN_IDS} of {len(names)})" if len(names) > _SHOWN_IDS else shown
