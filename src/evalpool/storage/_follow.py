"""What others have finished, each job once: the reader behind `gather_other_jobs_done`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalpool.storage._records import job_record

if TYPE_CHECKING:
    from evalpool.models import JobRecord
    from evalpool.storage._base import Storage

__all__ = ["Follower"]


class Follower:
    """Gives each job of a search that another owner finished exactly once; from the first job on.

    It walks the list of finished jobs that the fold keeps, so a look costs what is new. One thread at a time.
    """

    def __init__(self, storage: Storage, search_id: str, not_owner: str) -> None:
        self._storage = storage
        self._search_id = search_id
        self._not_owner = not_owner
        self._seen = 0  # of the list of finished jobs
        # Finished, yet not to be given now: not created as far as we have read, or its end was withdrawn
        # because a claim of the job turned out to be older (journals only).
        self._pending: list[int] = []

    def poll(self) -> list[JobRecord]:
        """Return what others finished since the last call, in the order in which it ended."""
        storage = self._storage
        with storage._fold_lock:
            search = storage._search(self._search_id)
            candidates = self._pending + search.finished[self._seen :]
            self._seen = len(search.finished)
            self._pending = []
            found = []
            for number in candidates:
                job = search.jobs[number]
                if job.created is None or not job.is_final:
                    self._pending.append(number)
                elif job.owner != self._not_owner:
                    found.append(job_record(self._search_id, job))
        return found
