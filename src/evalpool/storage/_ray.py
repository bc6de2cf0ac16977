"""A storage in the memory of a Ray actor, for every driver and worker of its cluster.

Events are sent and kept as JSON, in whole batches that the actor does not parse. The actor executes one call after the
other, so the log has one order and no number is given twice.
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
"""The Ray namespace of the actors, so that their names do not conflict with those of other programs."""
ANSWER_WITHIN = 60.0
"""Seconds that the actor may take to answer. It takes a millisecond once it has started."""
ENDS_WITHIN = 10.0
"""Seconds that it may take to end by itself, before it is killed."""


class RayStorage(WireStorage):
    """Keeps events in a named actor. A pickled copy is a client of the same actor.

    The actor exists until the client that made it is closed, or the process of that client ends; with
    ``lifetime="detached"``, until `delete` is called or the cluster ends. Other drivers attach with its `name`.

    Args:
        address: the cluster; ``"auto"`` for the one that this process uses, or else one that runs on this host.
        name: the name of an existing storage to attach to; None makes a new storage with a new name.
        lifetime: ``"detached"`` lets a new storage outlive this process.

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
                f"name={name!r} attaches to an existing storage, and lifetime={lifetime!r} cannot change its end; "
                "leave lifetime out."
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
        """Return a client of the storage with this name, in a process of the cluster: a worker."""
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
        """The name with which other drivers attach."""
        self._begin_writing("RayStorage", remote=True)

    def _create(self, lifetime: str | None) -> None:
        options = {"name": self.name, "namespace": NAMESPACE, "num_cpus": 0, "max_restarts": 0, "lifetime": lifetime}
        # The handle is kept, since an actor ends with the last handle in the process that made it.
        self._made = self._ray.remote(_log_class()).options(**options).remote()

    def _find(self) -> Any:
        if not self._ray.is_initialized():
            raise StorageUnavailable(
                f"RayStorage {self.name!r} is in a Ray cluster, and this process belongs to no cluster. Only drivers "
                "and workers of that cluster can use it; for other processes, use JournalStorage(directory) or "
                "RedisStorage(host)."
            )
        try:
            return self._ray.get_actor(self.name, namespace=NAMESPACE)
        except Exception as error:
            raise StorageUnavailable(
                f"No RayStorage is called {self.name!r} in this cluster ({type(error).__name__}: {error}). A storage "
                'ends with the process that made it, unless it was made with lifetime="detached".'
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
        """End the actor and delete all that it keeps, for all clients; no request that comes later is answered."""
        with contextlib.suppress(Exception):  # it has ended already
            if self._ray.is_initialized():  # else the call would start a new cluster
                actor = self._actor or self._find()
                # `ray.kill` does not wait: the actor would take a record that comes next, and be gone then. That it has
                # ended is an error of this call; one made by an earlier evalpool has no such method.
                with contextlib.suppress(self._ray.exceptions.RayError, AttributeError):
                    self._ray.get(actor.end.remote(), timeout=ENDS_WITHIN)
                self._ray.kill(actor, no_restart=True)

    def close(self) -> None:
        """Flush, and end the storage if this client made it and it is not detached."""
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
        """Do nothing: in a forked child, Ray itself raises an error."""

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
    """Return the class of the actor. It is local, so it is pickled by value and the actor's host needs no evalpool."""

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

        def end(self) -> None:
            import ray

            ray.actor.exit_actor()  # type: ignore[no-untyped-call]

    return EvalpoolStorage
