"""A storage in the memory of a Ray actor, for every driver and worker of its cluster.

The actor's class travels by value and does what `SharedMemoryStorage` answers its clients: the log is a
`MemoryStorage` there, and what travels is JSON.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from typing import Any

from evalpool._json import from_json, to_json
from evalpool.errors import BadArgument, StorageUnavailable
from evalpool.storage._base import Cursor, Sharing, Storage
from evalpool.storage._codec import encode, encode_anyhow, from_wire, to_wire
from evalpool.storage._events import Event
from evalpool.storage._writer import Writer

__all__ = ["RayStorage"]

NAMESPACE = "evalpool"
"""Ours alone: names of other programs' actors are elsewhere."""
ANSWER_WITHIN = 60.0
"""Seconds that the actor may take; it takes a millisecond once it has started."""


class RayStorage(Storage):
    """Keeps events in a named actor; pickled, it is a client of the same one.

    It lives until it is closed by the one who made it, or that one's process ends; with ``lifetime="detached"`` until
    `delete`, or until the cluster ends. Other drivers attach with its `name`.

    Args:
        address: of the cluster; ``"auto"`` for the one in use, else one that runs here, else a new one.
        name: of an existing storage to attach to; None makes a new one under a name of its own.
        lifetime: ``"detached"`` lets a new one survive this process.

    Raises:
        BackendError: there is no such cluster.
        MissingExtra: Ray is not installed.
        StorageUnavailable: no storage of this name is in the cluster.
    """

    shared = Sharing.CLUSTER

    def __init__(self, address: str = "auto", *, name: str | None = None, lifetime: str | None = None) -> None:
        if lifetime not in (None, "detached"):
            raise BadArgument(f'lifetime is {lifetime!r}; give "detached", or None to end with this process.')
        if name is not None and lifetime is not None:
            raise BadArgument(f"name={name!r} attaches to a storage that exists; its lifetime is its maker's to choose.")
        super().__init__()
        self._session = _join(address)
        try:
            self._begin(_new_name() if name is None else name, owner=name is None)
            if name is None:
                self._create(lifetime)
            else:
                self._actor = self._find()
        except BaseException:
            self._session.leave()
            raise
        self._keeps_alive = name is None and lifetime is None

    @classmethod
    def _attach(cls, name: str) -> RayStorage:
        """A client of the storage of this name, in a process that is in the cluster already: a worker."""
        client = cls.__new__(cls)
        Storage.__init__(client)
        client._session = None
        client._keeps_alive = False
        client._begin(name, owner=False)
        return client

    def _begin(self, name: str, owner: bool) -> None:
        from evalpool.backends._ray._session import import_ray

        self._ray = import_ray("RayStorage")
        self._actor: Any = None
        self._closed = False
        self.name = name
        """By which other drivers attach."""
        self._writer: Writer[str] = Writer(self._send, "RayStorage")

    def _create(self, lifetime: str | None) -> None:
        import sys

        options = {"name": self.name, "namespace": NAMESPACE, "num_cpus": 0, "max_restarts": 0, "lifetime": lifetime}
        # A storage whose actor cannot start says so now, not at the first job.
        self._actor = self._ray.remote(_log_class()).options(**options).remote(list(sys.path))
        self._ask("length")

    def _find(self) -> Any:
        try:
            return self._ray.get_actor(self.name, namespace=NAMESPACE)
        except Exception as error:
            raise StorageUnavailable(
                f"No RayStorage is called {self.name!r} in this cluster ({type(error).__name__}: {error}). It ends with "
                'the process that made it, unless that gave lifetime="detached".'
            ) from error

    # -- primitives ------------------------------------------------------------------------------------

    def append(self, events: Sequence[Event]) -> None:
        if events:
            self._writer.append(to_wire(events, encode))

    def append_soon(self, events: Sequence[Event]) -> None:
        if events:
            self._writer.append_soon(to_wire(events, encode_anyhow))

    def flush(self) -> None:
        self._writer.flush()

    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        batches, cursor = self._ask("read", after)
        return [event for batch in batches for event in from_wire(from_json(batch))], cursor

    def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
        from evalpool.storage._counters import Counters

        if search_id:
            self._search_known(search_id)
        first = self._ask("reserve", search_id, n, cap)
        if first is None:
            counters = Counters()  # raises what every storage raises
            counters.take(search_id, 0, None)
            raise self._over(search_id, n, cap)
        return int(first)

    def close(self) -> None:
        """Flush; end the actor if this client made it and it is not detached."""
        if self._closed:
            return
        try:
            self._writer.close()
        finally:
            self._closed = True
            if self._keeps_alive:
                self.delete()
            if self._session is not None:
                self._session.leave()
