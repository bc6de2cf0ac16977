"""A storage in the memory of a Ray actor, for every driver and worker of its cluster.

What travels and what is kept is JSON, in whole batches that the actor never looks into. It does one thing after
another, which gives the log its order and makes numbers exact.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import Any

from evalpool._json import from_json
from evalpool._ray_session import RayHold, import_ray
from evalpool.errors import BadArgument, StorageUnavailable
from evalpool.storage._base import SEARCHES, Cursor, Sharing
from evalpool.storage._counters import check_count, refuse
from evalpool.storage._events import Event
from evalpool.storage._written import WireStorage

__all__ = ["RayStorage"]

NAMESPACE = "evalpool"
"""Ours alone: names of other programs' actors are elsewhere."""
ANSWER_WITHIN = 60.0
"""Seconds that the actor may take; it takes a millisecond once it has started."""


class RayStorage(WireStorage):
    """Keeps events in a named actor; pickled, it is a client of the same one.

    It lives until it is closed by the one who made it, or that one's process ends; with ``lifetime="detached"`` until
    `delete`, or until the cluster ends. Other drivers attach with its `name`.

    Args:
        address: of the cluster; ``"auto"`` for the one that this process uses, else one that runs on this host.
        name: of an existing storage to attach to; None makes a new one under a name of its own.
        lifetime: ``"detached"`` lets a new one survive this process.

    Raises:
        BackendError: there is no such cluster.
        MissingExtra: Ray is not installed.
        StorageUnavailable: no storage of this name is in the cluster.
    """

    shared = Sharing.CLUSTER
    _actor: Any = None

    def __init__(self, address: str = "auto", *, name: str | None = None, lifetime: str | None = None) -> None:
        if lifetime not in (None, "detached"):
            raise BadArgument(f'lifetime is {lifetime!r}; give "detached", or None to end with this process.')
        if name is not None and lifetime is not None:
            raise BadArgument(
                f"name={name!r} attaches to a storage that exists; its lifetime is its maker's to choose."
            )
        super().__init__()
        self._session: RayHold | None = RayHold("RayStorage", address)
        try:
            self._become_client(_new_name() if name is None else name)
            if name is None:
                self._create(lifetime)
            else:
                self._actor = self._find()
        except BaseException:
            self._session.leave()
            raise
        self._mine = name is None and lifetime is None

    @classmethod
    def _attach(cls, name: str) -> RayStorage:
        """A client of the storage of this name, in a process that is in the cluster already: a worker."""
        client = cls.__new__(cls)
        WireStorage.__init__(client)
        client._session = None
        client._mine = False
        client._become_client(name)
        return client

    def _become_client(self, name: str) -> None:
        self._ray = import_ray("RayStorage")
        self._made: Any = None
        self._searches: set[str] = {SEARCHES}
        self.name = name
        """By which other drivers attach."""
        self._begin_writing("RayStorage", remote=True)

    def _create(self, lifetime: str | None) -> None:
        options = {"name": self.name, "namespace": NAMESPACE, "num_cpus": 0, "max_restarts": 0, "lifetime": lifetime}
        # Kept: an actor ends with the last handle in the process that made it.
        self._made = self._ray.remote(_log_class()).options(**options).remote()

    def _find(self) -> Any:
        if not self._ray.is_initialized():
            raise StorageUnavailable(
                f"RayStorage {self.name!r} is in a Ray cluster, and this process is in none; it reaches workers of "
                "that cluster only. Use JournalStorage(directory) or RedisStorage(host) for others."
            )
        try:
            return self._ray.get_actor(self.name, namespace=NAMESPACE)
        except Exception as error:
            raise StorageUnavailable(
                f"No RayStorage is called {self.name!r} in this cluster ({type(error).__name__}: {error}). It ends "
                'with the process that made it, unless that gave lifetime="detached".'
            ) from error

    # -- primitives ------------------------------------------------------------------------------------

    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        batches, cursor = self._ask("read", after or 0)
        first = cursor - len(batches)
        return [
            event
            for number, batch in enumerate(batches, first)
            for event in self._unpack(from_json(batch), f"batch {number} of {self!r}")
        ], cursor

    def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
        check_count(n)
        if search_id not in self._searches:
            self._search_known(search_id)
            self._searches.add(search_id)
        first, taken = self._ask("reserve", search_id, n, cap)
        if not taken and cap is not None:
            raise refuse(search_id, first, n, cap)
        return int(first)

    def delete(self) -> None:
        """End the storage and what it holds, for all its clients."""
        with contextlib.suppress(Exception):  # gone already, as was wanted
            if self._ray.is_initialized():  # or the call would start a new cluster
                self._ray.kill(self._actor or self._find(), no_restart=True)

    def close(self) -> None:
        """Flush; end the storage if this client made it and it is not detached."""
        super().close()

    # -- the actor -------------------------------------------------------------------------------------

    def _commit(self, batches: list[str]) -> None:
        self._ask("append", batches)  # in one call, so that all of it is kept or none

    def _release(self, flushed: bool) -> None:
        if self._closed:
            return
        if self._mine:
            self.delete()
        self._made = None
        if self._session is not None:
            self._session.leave()

    def _renew(self) -> None:
        """Ray says itself that a forked child is no driver."""

    def _ask(self, method: str, *arguments: Any) -> Any:
        if self._actor is None or not self._ray.is_initialized():
            self._actor = self._find()
        try:
            return self._ray.get(getattr(self._actor, method).remote(*arguments), timeout=ANSWER_WITHIN)
        except Exception as error:
            raise StorageUnavailable(
                f"RayStorage {self.name!r} does not answer: {type(error).__name__}: {error}"
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return RayStorage._attach, (self.name,)

    def __repr__(self) -> str:
        return f"RayStorage(name={self.name!r})"


def _new_name() -> str:
    return f"storage-{secrets.token_hex(8)}"


def _log_class() -> type:
    """The class of the actor, local so that it travels by value: its host needs no evalpool."""

    class EvalpoolStorage:
        def __init__(self) -> None:
            self.batches: list[str] = []
            self.next: dict[str, int] = {}

        def append(self, batches: list[str]) -> None:
            self.batches.extend(batches)

        def read(self, after: int) -> tuple[list[str], int]:
            return self.batches[after:], len(self.batches)

        def reserve(self, search: str, n: int, cap: int | None) -> tuple[int, bool]:
            first = self.next.get(search, 0)
            if cap is not None and first + n > cap:
                return first, False
            self.next[search] = first + n
            return first, True

    return EvalpoolStorage
