"""Reads the jobs that other owners have finished, each job once. `gather_other_jobs_done` uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalpool.storage._fold import SearchState
from evalpool.storage._records import job_record

if TYPE_CHECKING:
    from evalpool.models import JobRecord
    from evalpool.storage._base import Storage

__all__ = ["Follower"]


class Follower:
    """Returns each job of a search that another owner finished exactly once, beginning with the first job.

    It goes through the list of finished jobs that the fold keeps, so the cost of a call of `look` grows only with the
    number of new jobs. Only one thread at a time may use it. The jobs that `look` returned count as returned only when
    `take` has been called, so no job is lost if an interrupt comes between the two calls.
    """

    def __init__(self, storage: Storage, search_id: str, not_owner: str) -> None:
        self._storage = storage
        self._search_id = search_id
        self._not_owner = not_owner
        self._place = _Position(None, 0, [])
        self._next = self._place

    def poll(self) -> list[JobRecord]:
        """Return the jobs that others finished since the last call, in the order in which they ended."""
        found = self.look()
        self.take()
        return found

    def look(self) -> list[JobRecord]:
        """Return the jobs that others finished since the last `take`, in the order in which they ended."""
        storage = self._storage
        with storage._fold_lock:
            search = storage._search(self._search_id)
            search_before, seen, pending = self._place.search, self._place.seen, self._place.pending
            if search_before is None or search is search_before:
                candidates = pending + search.finished[seen:]
            else:  # the whole storage was read again, and jobs may be in another order
                given = set(search_before.finished[:seen]) - set(pending)
                candidates = [number for number in search.finished if number not in given]
            waiting, found = [], []
            for number in candidates:
                job = search.jobs[number]
                if job.created is None or not job.is_final:
                    waiting.append(number)
                elif job.owner != self._not_owner:
                    found.append(job_record(self._search_id, job))
            self._next = _Position(search, len(search.finished), waiting)
        return found

    def take(self) -> None:
        """Record that the caller has received what the last `look` returned."""
        self._place = self._next


class _Position:
    """How far the list of finished jobs was read.

    Attributes:
        search: the search that the list belongs to.
        seen: how many entries of the list were read.
        pending: jobs in the list that cannot be returned yet: the event that creates the job was not read yet, or the
            job does not count as finished anymore because an older claim of it was read later (journals only).
    """

    __slots__ = ("pending", "search", "seen")

    def __init__(self, search: SearchState | None, seen: int, pending: list[int]) -> None:
        self.search = search
        self.seen = seen
        self.pending = pending
