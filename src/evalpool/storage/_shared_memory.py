"""A storage in the memory of this process that its worker processes can use, too.

The log is kept as the JSON text that is sent to workers. So the read of a worker costs this process only the joining of
texts, and even a log of 100 000 jobs has no objects that the garbage collector must examine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalpool._json import jsonable, to_json
from evalpool._net._server import AnswerServer
from evalpool._net._sockets import Address
from evalpool.errors import StorageUnavailable
from evalpool.storage._base import Cursor, Sharing
from evalpool.storage._codec import dumps, encode, encode_anyhow, from_wire, loads
from evalpool.storage._counters import Counters
from evalpool.storage._events import Event
from evalpool.storage._fork import abandon
from evalpool.storage._hub import Link, reply_to
from evalpool.storage._written import WireStorage

__all__ = ["SharedMemoryStorage"]


class SharedMemoryStorage(WireStorage):
    """Keeps events in the memory of the process that made it. A pickled copy is a client of that process.

    The events are lost when this process ends. `close` ends the server for other processes; pickling it after that
    starts the server again.
    """

    shared = Sharing.PROCESSES

    def __init__(self) -> None:
        super().__init__()
        self._log: list[str] | None = []
        self._counters = Counters()
        self._server: AnswerServer | None = self._serving()
        self._become_client(self._server.address, self._server.key)

    def _serving(self) -> AnswerServer:
        return AnswerServer(lambda request: reply_to(request, self._answer), "evalpool-hub")

    @classmethod
    def _attach(cls, address: Address, key: bytes) -> SharedMemoryStorage:
        """Return a client of the storage that another process serves."""
        client = cls.__new__(cls)
        WireStorage.__init__(client)
        client._log = client._server = None
        client._become_client(address, key)
        return client

    def _become_client(self, address: Address, key: bytes) -> None:
        self._link = Link(address, key)
        self._begin_writing("SharedMemoryStorage", remote=True)

    # -- primitives ------------------------------------------------------------------------------------

    def append(self, events: Sequence[Event]) -> None:
        if self._log is None:
            super().append(events)
        elif (batch := self._pack(events, encode)) is not None:
            self._log.append(batch)

    def append_soon(self, events: Sequence[Event]) -> None:
        if self._log is None:
            super().append_soon(events)
        elif (batch := self._pack(events, encode_anyhow)) is not None:
            self._log.append(batch)

    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        if self._log is not None:
            batches = self._log[after or 0 :]
            items, cursor = loads(_joined(batches)), (after or 0) + len(batches)
        else:
            items, cursor = self._link.ask(to_json({"do": "read", "after": after}).encode("ascii"))
        return self._unpack(items, f"{self!r} behind batch {after or 0}"), cursor

    def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
        if self._log is not None:
            if not self._counters.knows(search_id):
                self._search_known(search_id)
            return self._counters.take(search_id, n, cap)
        request = {"do": "reserve", "search": search_id, "n": n, "cap": cap}
        return int(self._link.ask(to_json(request).encode("ascii")))

    # -- the wire --------------------------------------------------------------------------------------

    def _commit(self, batches: list[str]) -> None:
        # In one request, so that all batches are kept or none.
        self._link.ask(b'{"do":"append","events":%b}' % _joined(batches).encode("ascii"))

    def _answer(self, request: dict[str, Any]) -> Any:
        """Execute a client's request, in the process that holds the log."""
        if self._log is None:
            raise StorageUnavailable("this SharedMemoryStorage is served by another process.")
        if request["do"] == "append":
            from_wire(request["events"])  # checked, so that no client can make the log unreadable for others
            return self._log.append(dumps(jsonable(request["events"])))
        if request["do"] == "reserve":
            return self.reserve(request["search"], request["n"], request["cap"])
        after = request["after"] or 0
        batches = self._log[after:]
        return b"[%b,%d]" % (_joined(batches).encode("ascii"), after + len(batches))

    # -- processes -------------------------------------------------------------------------------------

    def _release(self, flushed: bool) -> None:
        self._link.close()
        if self._server is not None:
            self._server.close()
            self._server = None

    def _renew(self) -> None:
        """Become another client of the parent, which still serves the log."""
        address, key = self._link.address, self._link.key
        abandon(self._link)
        self._log = self._server = None
        self._become_client(address, key)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._log is not None:
            with self._writer.commit_lock:
                if self._server is None:
                    self._server = self._serving()
                    self._link = Link(self._server.address, self._server.key)
        return SharedMemoryStorage._attach, (self._link.address, self._link.key)

    def __repr__(self) -> str:
        return "SharedMemoryStorage()" if self._log is not None else "<client of a SharedMemoryStorage>"


def _joined(batches: list[str]) -> str:
    """Return these batches as one batch."""
    return f"[{','.join(batch[1:-1] for batch in batches if batch != '[]')}]"
