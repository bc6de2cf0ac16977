"""Which evaluators work on a search together: MPI ranks, or processes that share a storage. `distributed` uses this.

::

    arguments ─► prepare ─► the evaluator is constructed ─► join ─► due, due, ... ─► leave
                                   └─ its constructor raises ───────────────────────► leave
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._checks import check_number
from evalpool._clock import unix_time
from evalpool.errors import BackendError, BadArgument, StorageError

if TYPE_CHECKING:
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.storage import Storage

__all__ = ["Membership", "OverMPI", "OverStorage"]

MEMBER = "evalpool:member:"
"""Prefix of the search values that say who takes part, with how many workers."""


class Membership:
    """The common base: which member writes tables, and when to look for others' jobs. In the caller's thread.

    Attributes:
        rank: this member's; 0 is the root, or the member that began the search.
        storage: the storage that this made, None if the user gave one. Workers need not reach it; their jobs have no
            storage.
    """

    rank: int
    storage: Storage | None = None
    _share_freq: int
    _looked_at = 0
    """How many own jobs had been gathered at the last look."""

    def prepare(self, options: dict[str, Any]) -> dict[str, Any]:
        """Remove our own arguments from `options`; return the evaluator's. Raises `BadArgument`."""
        options = dict(options)
        self._share_freq = check_number("share_freq", options.pop("share_freq"), 1)
        if not options.pop("tables_everywhere") and self.rank != 0:
            from evalpool.callbacks import CSVLoggerCallback

            callbacks = options.get("callbacks") or []
            options["callbacks"] = [each for each in callbacks if not isinstance(each, CSVLoggerCallback)]
        return options

    def join(self, search: OpenSearch, workers: int) -> None:
        """Tell the others that this evaluator is open, with its number of workers."""

    def due(self, gathered: int, outstanding: int) -> bool:
        """Whether to look for others' jobs now, given how many own jobs were gathered and how many are outstanding."""
        if gathered - self._looked_at < self._share_freq and outstanding:
            return False  # once nothing is outstanding, the next look may be the last one
        self._looked_at = gathered
        return True

    def leave(self) -> None:
        """Tell the others that this evaluator is closed, or could not be constructed. Further calls do nothing."""

    @property
    def size(self) -> int:
        """How many members take part."""
        raise NotImplementedError

    @property
    def num_total_workers(self) -> int:
        """The number of workers of all members."""
        raise NotImplementedError


class OverMPI(Membership):
    """The ranks of a communicator, which construct their evaluators together.

    An error on one rank is reported to all; otherwise they would wait for this rank for ever.

    Raises:
        BackendError: the ranks run jobs under ``python -m evalpool.mpi``, or the root could not begin the search.
    """

    def __init__(self, comm: Any, root: int, storage: Any) -> None:
        from evalpool._mpi._crew import crew_of, has_runner
        from evalpool.storage import MPIStorage

        self._crew, self._root = crew_of(comm, root), root
        if has_runner():
            raise BackendError(
                "Under `python -m evalpool.mpi` one rank searches and the others run its jobs. A distributed search "
                "runs on every rank: mpirun -n N python script.py"
            )
        if storage is None:
            self.storage = MPIStorage(comm, root)
        self.rank = (self._crew.rank - root) % self._crew.size  # the root is 0
        self._num_total_workers = 0
        self._owed: Callable[[], object] | None = None
        """The collective call that the others wait for; made by `leave`, if this rank fails before it."""
        if self.rank == 0:
            self._owed = lambda: self._share_search(None)

    def prepare(self, options: dict[str, Any]) -> dict[str, Any]:
        if self.storage is not None:
            options = {**options, "storage": self.storage}
        if self.rank != 0:
            options = {**options, "search_id": self._share_search(None)}
            if options["search_id"] is None:
                raise BackendError("The root could not begin the search; its own error says why.")
        return super().prepare(options)

    def join(self, search: OpenSearch, workers: int) -> None:
        if self.rank == 0:
            self._share_search(search.search_id)
        self._count(workers)

    def leave(self) -> None:
        if self._owed is not None:
            self._owed()

    def _share_search(self, search_id: str | None) -> str | None:
        """Return on every rank what the root gives. A collective call."""
        self._owed = None
        self._crew.meet()
        found: str | None = self._crew.work.bcast(search_id, self._root)
        if found is not None:
            self._owed = lambda: self._count(0)
        return found

    def _count(self, workers: int) -> None:
        """Add up the workers of all ranks. A collective call."""
        self._owed = None
        self._crew.meet()
        self._num_total_workers = int(self._crew.work.allreduce(workers))

    @property
    def size(self) -> int:
        return self._crew.size

    @property
    def num_total_workers(self) -> int:
        return self._num_total_workers


class OverStorage(Membership):
    """Independent processes that share a storage, each a member for as long as its evaluator is open."""

    def __init__(self) -> None:
        self._search: OpenSearch | None = None  # set while this process takes part
        self._seen: OpenSearch

    def prepare(self, options: dict[str, Any]) -> dict[str, Any]:
        from evalpool.storage import Sharing, Storage, storage_from_url

        storage, search_id = options["storage"], options["search_id"]
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(storage_from_url(storage)) if isinstance(storage, str) else storage
            if not isinstance(client, Storage) or client.shared < Sharing.PROCESSES:
                raise BadArgument(
                    f"storage is {storage!r}; processes that search together need one that they share: "
                    'storage=SQLiteStorage("results.db"), JournalStorage(directory) or RedisStorage(host).'
                )
            self.rank = 0
            if search_id is not None:
                latest = client.latest_search() if search_id == "latest" else search_id
                self.rank = len(_members(client, str(latest)))
        return super().prepare(options)

    def join(self, search: OpenSearch, workers: int) -> None:
        self._seen = search
        self._store(search, {"since": unix_time(), "workers": workers})
        self._search = search

    def leave(self) -> None:
        search, self._search = self._search, None
        if search is not None:
            with contextlib.suppress(StorageError):  # a lost storage has no members, and the evaluator reports the loss
                self._store(search, None)

    @staticmethod
    def _store(search: OpenSearch, member: dict[str, Any] | None) -> None:
        search.storage.store_search_value(search.search_id, f"{MEMBER}{search.owner}", member)

    @property
    def size(self) -> int:
        return len(_members(self._seen.storage, self._seen.search_id))

    @property
    def num_total_workers(self) -> int:
        return sum(member["workers"] for member in _members(self._seen.storage, self._seen.search_id))


def _members(storage: Any, search_id: str) -> list[dict[str, Any]]:
    """Return the members of a search. Costs what is new in the storage, and the number of members there ever were."""
    with storage._fold_lock:
        values = storage._search(search_id).values
        return [value for key, value in values.items() if key.startswith(MEMBER) and value is not None]
