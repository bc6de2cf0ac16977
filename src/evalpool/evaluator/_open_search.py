"""The search that an evaluator works on: a new or a continued one, in a given storage, or in memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from evalpool._clock import monotonic, unix_time
from evalpool.errors import BadArgument
from evalpool.evaluator._from_url import FromUrl
from evalpool.evaluator._own_storage import OwnStorage
from evalpool.storage._base import Sharing, Storage
from evalpool.storage._leases import new_owner

__all__ = ["OpenSearch"]


class OpenSearch:
    """A search that one evaluator has open.

    Args:
        storage: a client, its URL, or None for the evaluator's own memory.
        search_id: a search to continue; ``"latest"`` for the last one, None for a new one.
        job_type: ``"hpo"`` or ``"task"``.
        seed: of the evaluator.
        seed_given: whether the user gave the seed; if not, a continued search keeps its first one.
        check: raises if the workers cannot reach a storage.
        user: a storage that was given by its URL is closed with this object.

    Attributes:
        storage: the client.
        own: the same, if no storage was given; else None.
        search_id: the search's id in the storage.
        begun: whether this evaluator began the search.
        owner: the evaluator's name in the records.
        origin: the zero of the search's timestamps, by `_clock.monotonic`.
        job_type, seed: as given, or as found in the storage.
        others_write: whether other clients may write to the same search.
        needs_json: whether the storage keeps text instead of our objects.

    Raises:
        BadArgument: `storage` is neither a client nor a URL of one.
        UnknownSearch: `search_id` is not in `storage`.
    """

    def __init__(
        self,
        storage: Storage | str | None,
        search_id: str | None,
        *,
        job_type: str,
        seed: int,
        seed_given: bool,
        check: Callable[[Storage], None],
        user: Any,
    ) -> None:
        self._from_url = FromUrl(storage, user) if isinstance(storage, str) else None
        self.own = OwnStorage() if storage is None else None
        self.storage: Storage = self._client(storage)
        if self.own is None and self.storage.keeps:
            check(self.storage)
        self.begun = search_id is None
        if search_id is None:
            self.search_id = self.storage.create_new_search()
        else:
            self.search_id = self.storage.latest_search() if search_id == "latest" else str(search_id)
        start = self.storage.search_start(self.search_id)  # UnknownSearch if it is not there
        self.origin = monotonic() - (unix_time() - start)
        self.owner = os.urandom(16).hex() if self.own is not None else new_owner()
        self.others_write = self.own is None and self.storage.keeps
        self.needs_json = self.storage.keeps and (self.storage.durable or self.storage.shared > Sharing.THREADS)
        self.job_type, self.seed = job_type, seed
        self._keep_facts(seed_given)

    def _client(self, storage: Any) -> Storage:
        if self._from_url is not None:
            return self._from_url.client
        if self.own is not None:
            return self.own
        if not isinstance(storage, Storage):
            raise BadArgument(
                f"storage is {storage!r} of type {type(storage).__name__}; give an evalpool.storage.Storage, "
                'such as SQLiteStorage("results.db"), or its URL, "sqlite:///results.db".'
            )
        return storage

    def _keep_facts(self, seed_given: bool) -> None:
        """Record job type and seed. A continued search has its first seed, unless another one is given."""
        if self.storage.keeps and self.job_type == "task":  # for tables made from the storage
            self.storage.store_search_value(self.search_id, "job_type", self.job_type)
        if not self.others_write:
            return
        if not self.begun and not seed_given:
            # There is none if the search was created by hand, or if the process that began it died before this line.
            with contextlib.suppress(KeyError):
                self.seed = self.storage.load_search_value(self.search_id, "seed")
                return
        self.storage.store_search_value(self.search_id, "seed", self.seed)

    def leave(self) -> None:
        """At the evaluator's end: flush the client, or close it if it was given by its URL. Raises `StorageError`."""
        if self._from_url is None:
            self.storage.flush()
        else:
            self._from_url.close()

    def look_again(self, user: Any) -> None:
        """After `leave`: reopen a client that was given by its URL, for as long as `user` exists."""
        if self._from_url is not None:
            self.storage = self._from_url.again(user)
