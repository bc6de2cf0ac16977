"""The lease on the jobs of a search: "the owner of these jobs lives until ...".

It is renewed well before it expires, by the thread that keeps deadlines; so the jobs of an owner that is gone are run
again soon, and those of one that lives never are, also when its search thinks for an hour. On the same host the owner's
process is looked at, too.
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
"""Seconds for which a lease is given; renewed every third of it, so that two renewals may fail."""


class Lease:
    """An evaluator's lease on its jobs.

    Args:
        search: the jobs of which search.
        sent: told of each renewal: its end, seconds since the epoch, and for how many seconds it is.
    """

    def __init__(self, search: OpenSearch, sent: Callable[[float, float], None]) -> None:
        self._search = search
        self._sent = sent
        self.held = False

    @property
    def ttl(self) -> float:
        """Seconds for which it is given."""
        return TTL

    def take(self) -> bool:
        """Take the lease; False if it is held already. Raises `StorageError`."""
        if self.held:
            return False
        if not self._search.begun:
            self._search.storage._go_on_with(self._search.search_id)
        self.renew_now()
        self.held = True
        return True

    def renew_now(self) -> None:
        """Renew it, and return when the storage has that. Raises `StorageError`."""
        self._search.storage.append([self.renewal()])

    def renewal(self) -> Event:
        """The event that renews it; whoever makes it sends it."""
        expires = unix_time() + TTL
        self._sent(expires, TTL)
        return Event("lease", self._search.search_id, None, {"owner": self._search.owner, "expires": expires})

    def give_up(self) -> None:
        """At close: whoever resumes need not wait for the lease to expire."""
        if self.held:
            self.held = False
            self._search.storage.lease(self._search.search_id, self._search.owner, 0.0)
