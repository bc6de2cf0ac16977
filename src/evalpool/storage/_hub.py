"""A log in this process's memory, served to its workers by threads over a local socket.

::

    worker                              this process
    Link ──► {"do": "append", ...} ──►  Hub: one thread accepts, one more for each worker
         ◄── {"ok": ...}           ◄──  the log, which this process uses directly

What travels is JSON, in the frames of `multiprocessing.connection` and behind its handshake: both sides prove
that they know the key, and neither ever unpickles anything. On Linux the socket has a name and no file, so that
nothing is left behind however the process ends; elsewhere it is a file in a directory of its own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from multiprocessing.context import AuthenticationError
from typing import Any

import evalpool.errors
from evalpool._json import to_json
from evalpool.errors import EvalpoolError, StorageUnavailable
from evalpool.storage._codec import loads

__all__ = ["Hub", "Link"]

_KEY_BYTES = 32
_BACKLOG = 128

ACCEPT_AGAIN = 0.05
"""Seconds until callers are accepted again where they could not be."""


class Hub:
    """Serves `answer` to every `Link` that knows the key, until it is closed.

    Args:
        answer: called with each request, a dict; returns a JSON value, or text that is JSON already as
            bytes. Called by many threads. An `EvalpoolError` travels to the caller.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        self._answer = answer
        self.key = secrets.token_bytes(_KEY_BYTES)
        self._directory: str | None = None
        if sys.platform == "linux":
            self.address = f"\0evalpool-{secrets.token_hex(16)}"
        else:
            self._directory = tempfile.mkdtemp(prefix="evalpool-")  # only ours to enter
            self.address = os.path.join(self._directory, "hub")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.address)
        self._listener.listen(_BACKLOG)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._served: dict[Connection, threading.Thread] = {}
        self._thread = threading.Thread(target=self._accept, name="evalpool-hub", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every connection and thread. Idempotent."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
        # A thread that waits in accept is not woken by closing the socket, but it is by a caller.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.connect(self.address)
        self._thread.join()
        self._listener.close()
        with self._lock:
            served = dict(self._served)
            for connection in served:
                _shut_down(connection)
        for thread in served.values():
            thread.join()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def abandon(self) -> None:
        """In a forked child: close our copies, or callers would wait for us when the parent has died."""
        self._listener.close()
        for connection in self._served:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:  # out of file descriptors: callers wait until some are free
                if self._closing.wait(ACCEPT_AGAIN):
                    return
                continue
            with self._lock:
                if self._closing.is_set():
                    peer.close()
                    return
                connection = Connection(peer.detach())
                thread = threading.Thread(target=self._serve, args=(connection,), name="evalpool-hub", daemon=True)
                self._served[connection] = thread
                thread.start()

    def _serve(self, connection: Connection) -> None:
        # The handshake is here and not in `_accept`, where a caller that says nothing would keep all others out.
        with contextlib.suppress(OSError, EOFError, AuthenticationError):
            deliver_challenge(connection, self.key)
            answer_challenge(connection, self.key)
            while True:
                connection.send_bytes(reply_to(connection.recv_bytes(), self._answer))
        with self._lock:  # `close` must not shut down what has this number next
            self._served.pop(connection, None)
            connection.close()


def reply_to(request: bytes, answer: Callable[[dict[str, Any]], Any]) -> bytes:
    """The answer to a request as it travels, or the error that it raised."""
    try:
        value = answer(loads(request))
    except (EvalpoolError, ValueError, TypeError, KeyError) as error:
        return to_json({"error": [type(error).__name__, str(error)]}).encode("ascii")
    return b'{"ok":%b}' % (value if isinstance(value, bytes) else to_json(value).encode("ascii"))


def read_reply(reply: dict[str, Any]) -> Any:
    """The answer in a reply. Raises what the other side raised."""
    if "error" in reply:
        name, message = reply["error"]
        kind = getattr(evalpool.errors, name, None) if name in evalpool.errors.__all__ else None
        raise (kind or StorageUnavailable)(message)
    return reply["ok"]


def _shut_down(connection: Connection) -> None:
    """Wake the thread that reads from it. Closing it would not."""
    peer = socket.socket(fileno=connection.fileno())
    try:
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
    finally:
        peer.detach()


class Link:
    """A worker's end: connects when it is first used in a process. Any thread; one request at a time."""

    def __init__(self, address: str, key: bytes) -> None:
        self.address = address
        self.key = key
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def ask(self, request: bytes) -> Any:
        """Send a request, as JSON text, and return the answer. Raises what the hub raised, or `StorageUnavailable`."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                self._connection.send_bytes(request)
                reply = loads(self._connection.recv_bytes())
            except (OSError, EOFError, AuthenticationError) as error:
                self._close()
                raise StorageUnavailable(
                    "the process that serves this SharedMemoryStorage has ended, or has closed it "
                    f"({type(error).__name__}); what it held is gone."
                ) from error
        return read_reply(reply)

    def close(self) -> None:
        """Disconnect; the next request connects again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> Connection:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(self.address)
            connection = Connection(os.dup(peer.fileno()))
        try:
            answer_challenge(connection, self.key)
            deliver_challenge(connection, self.key)
        except BaseException:
            connection.close()
            raise
        return connection
