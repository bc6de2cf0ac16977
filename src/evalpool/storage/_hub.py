"""The requests and replies with which other processes use a log in the memory of one process.

::

    worker                              the process that holds the log
    Link ──► {"do": "append", ...} ──►  a Server of `evalpool._net`, one thread for each worker: `reply_to`
         ◄── {"ok": ...}           ◄──  the log, which this process uses directly

Both sides first prove that they know the key, and then send JSON. Neither side ever unpickles anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import evalpool.errors
from evalpool._json import to_json
from evalpool._net._connect import connect
from evalpool._net._sockets import Address
from evalpool.errors import StorageUnavailable
from evalpool.storage._codec import loads

__all__ = ["Link", "read_reply", "reply_to"]


def reply_to(request: bytes, answer: Callable[[dict[str, Any]], Any]) -> bytes:
    """Return the reply to a request as the bytes to send: the answer, or the error that the request raised."""
    try:
        value = answer(loads(request))
    except Exception as error:  # noqa: BLE001  any error is sent, as the other side waits for a reply
        return to_json({"error": [type(error).__name__, str(error)]}).encode("ascii")
    return b'{"ok":%b}' % (value if isinstance(value, bytes) else to_json(value).encode("ascii"))


def read_reply(reply: dict[str, Any]) -> Any:
    """Return the answer in a reply. Raises the error that the other side raised."""
    if "error" in reply:
        name, message = reply["error"]
        kind = getattr(evalpool.errors, name, None) if name in evalpool.errors.__all__ else None
        raise (kind or StorageUnavailable)(message)
    return reply["ok"]


class Link:
    """Sends requests from a worker, one at a time. It connects when it is first used in a process. Thread-safe."""

    def __init__(self, address: Address, key: bytes) -> None:
        self.address = address
        self.key = key
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def ask(self, request: bytes) -> Any:
        """Send a request (JSON text) and return the answer. Raises what `read_reply` does, or `StorageUnavailable`."""
        with self._lock:
            reply = self._exchange(request)
        return read_reply(reply)

    def _exchange(self, request: bytes) -> Any:
        """Send one request and return its reply. Called under the lock."""
        try:
            if self._connection is None:
                self._connection = Connection(connect(self.address, self.key).detach())
            self._connection.send_bytes(request)
            return loads(self._connection.recv_bytes())
        except (OSError, EOFError) as error:
            self._close()
            raise StorageUnavailable(
                "the process that serves this SharedMemoryStorage has ended, or has closed it "
                f"({type(error).__name__}); what it held is gone."
            ) from error
        except BaseException:
            self._close()  # interrupted: the answer may still come, and must not be taken as that of a later request
            raise

    def close(self) -> None:
        """Disconnect; the next request connects again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
