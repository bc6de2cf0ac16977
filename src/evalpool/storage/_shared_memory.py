"""A storage in this process's memory that its worker processes reach as well."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from evalpool._json import plain, to_json
from evalpool.errors import StorageUnavailable
from evalpool.storage._base import Cursor, Sharing, Storage
from evalpool.storage._codec import encode, encode_anyhow, from_wire, to_wire
from evalpool.storage._events import Event
from evalpool.storage._fork import abandon, renew_after_fork
from evalpool.storage._hub import Hub, Link
from evalpool.storage._memory import MemoryStorage
from evalpool.storage._writer import Writer

__all__ = ["SharedMemoryStorage"]


class SharedMemoryStorage(Storage):
    """Keeps events in the memory of the process that made it; pickled, it is a client of that one.

    It lives until it is closed or its process ends, and what it holds with it.
    """

    shared = Sharing.PROCESSES

    def __init__(self) -> None:
        super().__init__()
        self._log: MemoryStorage | None = MemoryStorage()
        self._hub: Hub | None = Hub(self._answer)
        self._become_client(self._hub.address, self._hub.key)
        renew_after_fork(self)

    @classmethod
    def _attach(cls, address: str, key: bytes) -> SharedMemoryStorage:
        """A client of the storage that another process serves."""
        client = cls.__new__(cls)
        Storage.__init__(client)
        client._log = client._hub = None
        client._become_client(address, key)
        renew_after_fork(client)
        return client

    def _become_client(self, address: str, key: bytes) -> None:
        self._link = Link(address, key)
        self._writer: Writer[str] = Writer(self._send, "SharedMemoryStorage")

    # -- primitives ------------------------------------------------------------------------------------

    def append(self, events: Sequence[Event]) -> None:
        if self._log is not None:
            # The same values, and the same errors, as a worker would get through JSON.
            self._log.append([event._replace(data=plain(event.data, event.kind)) for event in events])
        elif events:
            self._writer.append(to_wire(events, encode))

    def append_soon(self, events: Sequence[Event]) -> None:
        if self._log is not None:
            self._log.append([event._replace(data=plain(event.data, lenient=True)) for event in events])
        elif events:
            self._writer.append_soon(to_wire(events, encode_anyhow))

    def flush(self) -> None:
        self._writer.flush()

    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        if self._log is not None:
            return self._log.read(after)
        items, cursor = self._link.ask(to_json({"do": "read", "after": after}).encode("ascii"))
        return from_wire(items), cursor

    def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
        if self._log is not None:
            return self._log.reserve(search_id, n, cap)
        request = {"do": "reserve", "search": search_id, "n": n, "cap": cap}
        return int(self._link.ask(to_json(request).encode("ascii")))

    def close(self) -> None:
        self._writer.close()
        self._link.close()
        if self._hub is not None:
            self._hub.close()

    # -- the wire --------------------------------------------------------------------------------------

    def _send(self, batches: list[str]) -> None:
        # One request, so that all of it is kept or none.
        events = ",".join(batch[1:-1] for batch in batches if batch != "[]")
        self._link.ask(b'{"do":"append","events":[%b]}' % events.encode("ascii"))

    def _answer(self, request: dict[str, Any]) -> Any:
        """In the process that holds the log: do what a client asks."""
        log = self._log
        if log is None:
            raise StorageUnavailable("this SharedMemoryStorage is served by another process.")
        if request["do"] == "append":
            return log.append(from_wire(request["events"]))
        if request["do"] == "reserve":
            return log.reserve(request["search"], request["n"], request["cap"])
        events, cursor = log.read(request["after"])
        return b"[%b,%d]" % (to_wire(events, _text).encode("ascii"), cursor)

    # -- processes -------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        """The parent goes on serving; this copy is one more client of it."""
        address, key = self._link.address, self._link.key
        if self._hub is not None:
            self._hub.abandon()
        abandon((self._log, self._link))
        self._log = self._hub = None
        self._fold_lock = threading.RLock()
        self._become_client(address, key)

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedMemoryStorage._attach, (self._link.address, self._link.key)

    def __repr__(self) -> str:
        return "SharedMemoryStorage()" if self._log is not None else "<client of a SharedMemoryStorage>"


def _text(event: Event) -> str:
    """The data of an event of this log as JSON text; it was checked when it came."""
    return to_json(event.data)
