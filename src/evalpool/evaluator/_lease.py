"""The lease on the jobs of a search: "the owner of these jobs is alive until ...".

The thread of deadlines renews it well before it expires. So the jobs of an owner that has ended are run again soon.
Those of a living owner never are, even if its search thinks for an hour. On the same host the owner's process is
checked, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from evalpool._clock import unix_time
from evalpool.storage._events import Event

if TYPE_CHECKING:
    from evalpool.evaluator._open_search import OpenSearch

__all__ = ["TTL", "Lease"]

TTL = 30.0
"""Seconds for which a lease lasts. It is renewed after each third of that, so two renewals may fail."""


class Lease:
    """An evaluator's lease on its jobs.

    Args:
        search: the search of the jobs.
        sent: ``sent(end, ttl)`` is called for each renewal: its end, in seconds since the epoch, and its duration.
    """

    def __init__(self, search: OpenSearch, sent: Callable[[float, float], None]) -> None:
        self._search = search
        self._sent = sent
        self.held = False

    @property
    def ttl(self) -> float:
        """Seconds for which the lease lasts."""
        return TTL

    def take(self) -> bool:
        """Take the lease; False if it is held already. Raises `StorageError`."""
        if self.held:
            return False
        if not self._search.begun:
            self._search.storage._upgrade_schema(self._search.search_id)
        self.renew_now()
        self.held = True
        return True

    def renew_now(self) -> None:
        """Renew the lease, and return when the storage has recorded that. Raises `StorageError`."""
        self._search.storage.append([self.renewal()])

    def renewal(self) -> Event:
        """Return an event that renews the lease; the caller must append it."""
        expires = unix_time() + TTL
        self._sent(expires, TTL)
        return Event("lease", self._search.search_id, None, {"owner": self._search.owner, "expires": expires})

    def give_up(self) -> None:
        """End the lease, so that `resume` elsewhere need not wait until it expires."""
        if self.held:
            self.held = False
            self._search.storage.lease(self._search.search_id, self._search.owner, 0.0)
