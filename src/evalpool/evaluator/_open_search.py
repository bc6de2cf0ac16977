"""The search that an evaluator works on: begun anew or continued, in a storage that was given, or in none."""

from __future__ import annotations

import contextlib
import uuid
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
    """A search as one evaluator has it open.

    Args:
        storage: a client, its URL, or None for the memory of the evaluator's own.
        search_id: of a search to go on with; ``"latest"`` for the last one, None for a new one.
        job_type: ``"hpo"`` or ``"task"``.
        seed: of the evaluator.
        seed_given: False where a search that goes on keeps the seed that it began with.
        check: raises if the workers cannot reach a storage.
        user: whose end closes a storage that was given by its URL.

    Attributes:
        storage: the client.
        own: the same, where none was given.
        search_id: its id there.
        begun: did this evaluator begin it?
        owner: the evaluator's name in the records.
        origin: the zero of its timestamps, by `_clock.monotonic`.
        job_type, seed: as given, or as found.
        others_write: may other clients add to what this evaluator records?
        needs_json: does the storage keep text, not our objects?

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
        self.owner = uuid.uuid4().hex if self.own is not None else new_owner()
        self.others_write = self.own is None and self.storage.keeps
        self.needs_json = self.storage.durable or self.storage.shared > Sharing.THREADS
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
        """A search that goes on has the seed that it began with, unless another one is given."""
        if self.storage.keeps and self.job_type == "task":  # for tables made from the storage
            self.storage.store_search_value(self.search_id, "job_type", self.job_type)
        if not self.others_write:
            return
        if not self.begun and not seed_given:
            # There is none where the search was begun by hand, or by who died before it could say it.
            with contextlib.suppress(KeyError):
                self.seed = self.storage.load_search_value(self.search_id, "seed")
                return
        self.storage.store_search_value(self.search_id, "seed", self.seed)

    def leave(self) -> None:
        """The evaluator is closed: flush the client; one that was given by its URL is closed. Raises `StorageError`."""
        if self._from_url is None:
            self.storage.flush()
        else:
            self._from_url.close()

    def look_again(self, user: Any) -> None:
        """After `leave`: open a client that was given by its URL again, for as long as `user` is there."""
        if self._from_url is not None:
            self.storage = self._from_url.again(user)
