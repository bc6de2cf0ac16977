"""What others have finished, each job once: the reader behind `gather_other_jobs_done`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalpool.storage._fold import SearchState
from evalpool.storage._records import job_record

if TYPE_CHECKING:
    from evalpool.models import JobRecord
    from evalpool.storage._base import Storage

__all__ = ["Follower"]


class Follower:
    """Gives each job of a search that another owner finished exactly once; from the first job on.

    It walks the list of finished jobs that the fold keeps, so a look costs what is new. One thread at a time. What
    `look` returned is given once `take` was called; an interrupt between the two loses nothing.
    """

    def __init__(self, storage: Storage, search_id: str, not_owner: str) -> None:
        self._storage = storage
        self._search_id = search_id
        self._not_owner = not_owner
        self._place = _Position(None, 0, [])
        self._next = self._place

    def poll(self) -> list[JobRecord]:
        """Return what others finished since the last call, in the order in which it ended."""
        found = self.look()
        self.take()
        return found

    def look(self) -> list[JobRecord]:
        """What others finished since the last `take`, in the order in which it ended."""
        storage = self._storage
        with storage._fold_lock:
            search = storage._search(self._search_id)
            search_before, seen, pending = self._place.search, self._place.seen, self._place.pending
            if search_before is None or search is search_before:
                candidates = pending + search.finished[seen:]
            else:  # all was read anew, and jobs may stand in another order
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

    @property
    def has_news(self) -> bool:
        """Did `look` find what was not taken yet?"""
        return self._place is not self._next

    def take(self) -> None:
        """What the last `look` returned has arrived."""
        self._place = self._next


class _Position:
    """How far the list of finished jobs was walked.

    Attributes:
        search: whose list it is.
        seen: how many of the list.
        pending: finished, yet not to be given now: not created as far as was read, or its end was taken back because a
            claim of the job turned out to be older (journals only).
    """

    __slots__ = ("pending", "search", "seen")

    def __init__(self, search: SearchState | None, seen: int, pending: list[int]) -> None:
        self.search = search
        self.seen = seen
        self.pending = pending
