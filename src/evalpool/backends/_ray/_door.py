"""Where workers come in: a listening socket, and a handshake by which both sides prove that they know the key.

The key travels to the workers through Ray. What is not through the handshake is never unpickled. Workers of this host
also use a door beside it, a Unix socket, over which memory can be passed (`_process._lend`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import struct
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from multiprocessing.context import AuthenticationError
from pathlib import Path
from typing import Any

from evalpool.backends._pool._lend import can_lend

__all__ = ["Door", "host_identity", "knock", "knock_near"]

logger = logging.getLogger("evalpool")

HANDSHAKE_WITHIN = 10
"""Seconds, whole ones."""
MOST_BYTES = 4096
_BACKLOG = 1024


class Door:
    """Lets workers in, and calls ``on_guest(hello, socket)`` for each connection, in a thread of its own.

    Args:
        host: the address of this host that the workers reach.
        on_guest: gets the facts that the worker told, and the connection.
    """

    def __init__(self, host: str, on_guest: Callable[[dict[str, Any], socket.socket], None]) -> None:
        self._on_guest = on_guest
        self.key = secrets.token_bytes(32)
        listener = socket.create_server((host, 0), backlog=_BACKLOG)
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._listeners = [listener]
        self.near: tuple[str, str] | None = None
        """Which host this is, and the name of the door for its processes; None where memory cannot be passed."""
        if can_lend():
            # Without a path: nothing to tidy up, and the handshake is all that keeps others out, as over there.
            name = f"evalpool-{secrets.token_hex(16)}"
            beside = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            beside.bind("\0" + name)
            beside.listen(_BACKLOG)
            self._listeners.append(beside)
            self.near = host_identity(), name
        self._closed = False
        self._welcoming: set[threading.Thread] = set()
        self._threads = [
            threading.Thread(target=self._accept, args=(each,), name="evalpool-door", daemon=True)
            for each in self._listeners
        ]
        for thread in self._threads:
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                guest, _ = listener.accept()
            except OSError:  # out of file descriptors: this one is turned away by the system
                if self._closed:
                    return
                continue
            if self._closed:
                guest.close()
                return
            # A thread of its own: one that says nothing must not keep the others out.
            if guest.family != socket.AF_UNIX:
                guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._welcome, args=(guest,), name="evalpool-door", daemon=True)
            self._welcoming.add(thread)
            thread.start()

    def _welcome(self, guest: socket.socket) -> None:
        try:
            hello = _shake_hands(guest, lambda connection: self._greet(connection))
        except (OSError, EOFError, AuthenticationError, ValueError) as error:
            if not self._closed:
                logger.warning("A connection to the evaluator was refused: %s: %s", type(error).__name__, error)
            guest.close()
        else:
            self._on_guest(hello, guest)
        finally:
            self._welcoming.discard(threading.current_thread())

    def _greet(self, connection: Connection) -> dict[str, Any]:
        deliver_challenge(connection, self.key)
        answer_challenge(connection, self.key)
        hello: dict[str, Any] = json.loads(connection.recv_bytes(MOST_BYTES))
        return hello

    def close(self) -> None:
        """Let nobody in any more. Idempotent."""
        if self._closed:
            return
        self._closed = True
        # A thread that waits in accept is not woken by closing the socket, but it is by a caller.
        for listener in self._listeners:
            with contextlib.suppress(OSError), socket.socket(listener.family, socket.SOCK_STREAM) as caller:
                caller.settimeout(1.0)
                caller.connect(listener.getsockname())
        for thread in self._threads:
            thread.join(2.0)
        for listener in self._listeners:
            listener.close()
        for thread in list(self._welcoming):
            if thread is not threading.current_thread():
                thread.join(HANDSHAKE_WITHIN)

    def close_in_fork(self) -> None:
        """In a forked child: the parent goes on listening."""
        for listener in self._listeners:
            listener.close()


def knock(address: tuple[str, int], key: bytes, hello: dict[str, Any]) -> socket.socket:
    """In a worker: a connection to the evaluator. Raises `OSError` if it cannot be reached."""
    sock = socket.create_connection(address, HANDSHAKE_WITHIN)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _introduce(sock, key, hello)


def knock_near(near: tuple[str, str] | None, key: bytes, hello: dict[str, Any]) -> socket.socket | None:
    """As `knock`, at the door for processes of the evaluator's host; None elsewhere."""
    if near is None or near[0] != host_identity():
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect("\0" + near[1])
        return _introduce(sock, key, hello)
    except OSError:  # the same host, and another network namespace: a container
        sock.close()
        return None


def _introduce(sock: socket.socket, key: bytes, hello: dict[str, Any]) -> socket.socket:
    sock.settimeout(None)

    def introduce(connection: Connection) -> None:
        answer_challenge(connection, key)
        deliver_challenge(connection, key)
        connection.send_bytes(json.dumps(hello).encode())

    try:
        _shake_hands(sock, introduce)
    except BaseException:
        sock.close()
        raise
    return sock


def _shake_hands(sock: socket.socket, how: Callable[[Connection], Any]) -> Any:
    """Speak for a bounded time in the frames of `multiprocessing.connection`."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", HANDSHAKE_WITHIN, 0))
    with Connection(os.dup(sock.fileno())) as connection:
        result = how(connection)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 0))
    return result


def host_identity() -> str:
    """The same in two processes only if one can see and kill the other by its pid."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return socket.gethostname()
