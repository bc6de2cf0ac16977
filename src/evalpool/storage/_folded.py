"""Keeps the state that results from the events a client has read, so that each read costs only what is new.

If someone sets a store back to an earlier state, it is noticed here in one of two ways: a cursor points to events that
do not exist anymore, or a job that this client recorded is missing. Then the whole log is read again and compared with
what was known (`_lost.py`).
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
"""The position in a log up to which a reader has read. Only the client that made it knows what it means."""

SEARCHES = ""
"""`reserve(SEARCHES, 1)` returns the number of a new search: searches are counted in the same way as jobs."""

_SHOWN_IDS = 5


class FoldedLog(abc.ABC):
    """The state that results from the events of a log, as one client has read it. Thread-safe."""

    def __init__(self) -> None:
        self._state = State()
        self._cursor: Cursor | None = None
        self._incomplete = False  # an interrupt came while events were folded, so the state is incomplete
        self._fold_lock = threading.RLock()
        self._numbers = KnownNumbers()  # that this client took, for stores that could give them again
        self._authors: list[weakref.WeakMethod[Callable[[list[str]], None]]] = []  # who can write lost jobs again

    @abc.abstractmethod
    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        """See `Storage.read`."""

    def _take_own(self, after: Cursor) -> tuple[Sequence[Any], Cursor]:
        """Return the events that this client wrote after the cursor and still keeps, and the cursor after them.

        The events are returned as their fields, each only once. `read` returns what follows, and raises `CursorLost` if
        the log no longer has what was written.
        """
        return (), after

    @abc.abstractmethod
    def append_soon(self, events: Sequence[Event]) -> None:
        """See `Storage.append_soon`."""

    def _sync(self) -> State:
        """Read and fold new events, and return the state. Call it, and use what it returns, only under `_fold_lock`.

        An interrupt may come between any two steps. Before the fold begins, nothing has changed. If it comes during the
        fold, the same events cannot be folded again, since one may have been applied in part. The next call then reads
        the whole log again.
        """
        if self._incomplete:
            self._state = State()
            self._cursor = None
            self._incomplete = False
        committed = dict(self._numbers.last)
        cursor = self._cursor
        try:
            own, cursor = ((), None) if cursor is None else self._take_own(cursor)
            events, cursor = self.read(cursor)
        except CursorLost:
            self._read_anew()
            return self._state
        if own or events:
            self._incomplete = True
            if own:
                self._state.apply_with_own(own, events)
            else:
                self._state.apply(events)
        self._cursor = cursor
        self._incomplete = False
        for search_id, number in committed.items():
            if not self._state.has_job(search_id, number):
                self._read_anew()
                break
        return self._state

    def _read_anew(self) -> None:
        """Read the whole log again and compare it with what was known. Raises `WentBack`, once, if jobs are lost."""
        with self._fold_lock:
            before = self._state
            events, cursor = self.read(None)
            now = fold(events)
            self._numbers.keep_from(SEARCHES, _next_search(before))
            loss = compare(before, now, self._numbers)
            self._state, self._cursor, self._incomplete = now, cursor, False
            if not loss.jobs:
                return
            if loss.again:
                self.append_soon(loss.again)
            for author in self._authors:
                if (record := author()) is not None:
                    record(loss.jobs)
        raise WentBack(repr(self), loss.jobs, loss.written_again)

    def _call_with_lost_jobs(self, author: Callable[[list[str]], None]) -> None:
        """Call this bound method with the ids of jobs whose records are lost, as long as its object exists."""
        self._authors = [*(known for known in self._authors if known() is not None), weakref.WeakMethod(author)]

    def _next_known(self, search_id: str) -> int:
        """Return the smallest number of the search above all that this client took or has read."""
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
        """Raise `UnknownSearch` unless the search exists. Reads the store only if the search was not seen before."""
        with self._fold_lock:
            known = self._state.searches.get(search_id)
            if known is None or known.start is None:
                self._search(search_id)

    def _job_known(self, job_id: str) -> tuple[str, int]:
        """Return the search id and the number in this id. Raises `UnknownJob` unless the job exists.

        The store is read only if the job was not seen before.
        """
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
