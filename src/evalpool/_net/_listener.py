"""Accepts programs that connect to us: each must prove that it knows the key, then its socket is handed over.

::

    connection ──► of another user? closed ──► challenged ──► proven ──► handed over, with its hello
                                                   └──► silent, wrong, too much: closed

Unproven peers can use only limited resources. Before its proof, a peer has one descriptor and some hundred bytes, for
at most `WITHIN` seconds, and there are at most `MOST` such peers. If more are waiting, the oldest one is closed after
`GRACE`. If that was a program of ours on a busy machine, it connects again (`connect`). All this is one loop, so a
silent peer needs no thread and blocks none.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from evalpool._clock import monotonic
from evalpool._descriptors import can_read, make_room
from evalpool._fork import Order, at_fork
from evalpool._guard import Guard, guarded_thread
from evalpool._log import get_logger
from evalpool._net._proof import REFUSED, VERDICT_BYTES, Challenge, ProofFailed
from evalpool._net._sockets import close_listening, trusted, user_at

__all__ = ["Handshakes", "Listener", "Peer", "new_key"]

logger = get_logger()

WITHIN = 10.0
"""Seconds from accepting a peer to its proof."""
MOST = 32
"""How many unproven peers there may be."""
GRACE = 0.1
"""Seconds that each of them has in any case. A proof takes less than a millisecond; on a busy machine, some dozens."""
ACCEPT_AGAIN = 0.05
"""Seconds until peers are accepted again, after the system had no descriptor left."""


def new_key() -> bytes:
    """Return a new key for one listener."""
    return secrets.token_bytes(32)


class Peer(NamedTuple):
    """A connection whose other side has proven that it knows the key."""

    socket: socket.socket
    hello: dict[str, Any]


class _Unproven:
    __slots__ = ("challenge", "since", "socket")

    def __init__(self, sock: socket.socket, key: bytes) -> None:
        self.socket = sock
        self.challenge = Challenge(key)
        self.since = monotonic()


class Handshakes:
    """Accepts peers and checks their proofs, in a loop of the caller.

    The loop watches the sockets that it gets by `add`, calls `ready` for each that can be read, and then `expire`, by
    `deadline` at the latest. One thread at a time.

    Args:
        listening: the listening sockets; closed with this.
        key: peers must prove that they know it.
        add, remove: called with each socket that must be watched for reading, or not any more.
    """

    def __init__(
        self,
        listening: Sequence[socket.socket],
        key: bytes,
        add: Callable[[socket.socket], Any],
        remove: Callable[[socket.socket], Any],
    ) -> None:
        self._listening = {sock.fileno(): sock for sock in listening}
        self._key, self._add, self._remove = key, add, remove
        self._unproven: dict[int, _Unproven] = {}  # the oldest first
        self._paused_until: float | None = None
        self._refused = 0
        for sock in listening:
            sock.setblocking(False)
            add(sock)

    def ready(self, fd: int) -> Peer | None:
        """Handle a socket that can be read; return the peer whose proof is complete by that, if any.

        The peer's socket is a blocking one.
        """
        listening = self._listening.get(fd)
        if listening is not None:
            self._accept(listening)
            return None
        unproven = self._unproven.get(fd)
        return None if unproven is None else self._read(unproven)

    def pending(self) -> bool:
        """Whether a peer is unproven, or waits to be accepted."""
        return bool(self._unproven) or bool(can_read(*self._listening.values()))

    def deadline(self) -> float:
        """Return when `expire` must be called, by the monotonic clock."""
        oldest = next(iter(self._unproven.values()), None)
        times = [] if oldest is None else [oldest.since + WITHIN]
        if self._paused_until is not None:
            times.append(self._paused_until)
        return min(times, default=math.inf)

    def expire(self) -> None:
        """Close peers whose time is over, and accept again after a pause."""
        now = monotonic()
        while self._unproven:
            oldest = next(iter(self._unproven.values()))
            if now < oldest.since + WITHIN:
                break
            self._close(oldest, f"it has not proven itself within {WITHIN:g} s")
        if self._paused_until is not None and now >= self._paused_until:
            self._paused_until = None
            for sock in self._listening.values():
                self._add(sock)

    def close(self) -> None:
        """Close every socket that was not handed over. Does not call `remove`: the loop has ended."""
        for unproven in self._unproven.values():
            unproven.socket.close()
        self._unproven.clear()
        for sock in self._listening.values():
            close_listening(sock)

    def abandon(self) -> None:
        """In a forked child: close our copies; the parent continues to listen."""
        for unproven in self._unproven.values():
            unproven.socket.close()
        for sock in self._listening.values():
            sock.close()

    def _accept(self, listening: socket.socket) -> None:
        if self._paused_until is not None:  # the pause began after the loop had looked
            return
        if len(self._unproven) >= MOST:
            oldest = next(iter(self._unproven.values()))
            enough = oldest.since + GRACE
            if monotonic() < enough:
                self._pause(enough)
                return
            self._close(oldest, "others were waiting, and it had not proven itself yet")
        try:
            sock, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the peer has closed the connection already
            return
        except OSError as error:  # no descriptor or no memory is left
            if error.errno != errno.EMFILE or not make_room(MOST):
                logger.warning("Connections cannot be accepted for now: %s", error)
                self._pause(monotonic() + ACCEPT_AGAIN)
            return
        user = user_at(sock)
        if user is not None and not trusted(user):
            sock.close()
            self._say(f"it belongs to user {user}, and this process to {os.geteuid()}")
            return
        unproven = _Unproven(sock, self._key)
        try:
            sock.setblocking(False)
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.send(unproven.challenge.text)  # it is small enough to fit always
            self._add(sock)
        except OSError as error:
            sock.close()
            self._say(str(error))
            return
        self._unproven[sock.fileno()] = unproven

    def _pause(self, until: float) -> None:
        self._paused_until = until
        for sock in self._listening.values():
            self._remove(sock)

    def _read(self, unproven: _Unproven) -> Peer | None:
        sock, challenge = unproven.socket, unproven.challenge
        try:
            data = sock.recv(challenge.wanted)
            if not data:
                raise ProofFailed("it closed the connection")
            hello = challenge.feed(data)
            if hello is None:
                return None
            sock.send(challenge.verdict)
        except BlockingIOError:
            return None
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError):  # the peer may have closed the connection
                sock.send(REFUSED.ljust(VERDICT_BYTES, b"\0"))
            self._close(unproven, str(error))
            return None
        self._forget(unproven)
        sock.setblocking(True)
        return Peer(sock, hello)

    def _close(self, unproven: _Unproven, why: str) -> None:
        self._forget(unproven)
        unproven.socket.close()
        self._say(why)

    def _forget(self, unproven: _Unproven) -> None:
        del self._unproven[unproven.socket.fileno()]
        self._remove(unproven.socket)

    def _say(self, why: str) -> None:
        # Only the first, the tenth, the hundredth and so on are logged, so that an attack cannot fill the log.
        self._refused += 1
        count = self._refused
        if count == 10 ** (len(str(count)) - 1):
            so_far = f" ({count} so far)" if count > 1 else ""
            logger.warning("A connection to evalpool was refused%s: %s.", so_far, why)


class Listener:
    """`Handshakes` in a separate thread.

    Args:
        listening: the listening sockets; closed with this.
        on_peer: called in that thread with each proven peer, which it owns from then on; must return soon.
        name: of the thread.

    Attributes:
        key: peers must prove that they know it.
    """

    def __init__(self, listening: Sequence[socket.socket], on_peer: Callable[[Peer], None], name: str) -> None:
        self.key = new_key()
        self._on_peer = on_peer
        self._closing = False
        make_room(MOST + 8)
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = os.pipe()
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._handshakes = Handshakes(
            listening,
            self.key,
            lambda sock: self._selector.register(sock, selectors.EVENT_READ),
            self._selector.unregister,
        )
        self._thread = guarded_thread(name, Guard("A listener of evalpool", self._wait_a_little), self._turn)
        self._thread.start()
        _all.add(self)

    def _turn(self) -> bool:
        if self._closing:
            return False
        deadline = self._handshakes.deadline()
        timeout = None if deadline == math.inf else max(0.0, deadline - monotonic())
        for key, _ in self._selector.select(timeout):
            peer = None if self._closing else self._handshakes.ready(key.fd)
            if peer is not None:
                self._hand_over(peer)
        self._handshakes.expire()
        return True

    def _wait_a_little(self, error: BaseException) -> None:
        """After an error, wait before the next peer is accepted, because the error may repeat."""
        time.sleep(ACCEPT_AGAIN)

    def _hand_over(self, peer: Peer) -> None:
        try:
            self._on_peer(peer)
        except Exception:
            peer.socket.close()
            logger.exception("A connection to evalpool could not be taken over.")

    def close(self) -> None:
        """Stop accepting peers. A second call does nothing."""
        if self._closing:
            return
        self._closing = True
        os.write(self._wake_out, b"x")
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._handshakes.close()
        self._release()

    def abandon(self) -> None:
        """In a forked child: close our copies. It is called automatically after each fork."""
        if not self._closing:
            self._closing = True
            self._handshakes.abandon()
            self._release()

    def _release(self) -> None:
        self._selector.close()  # without unregistering, because a forked child shares its parent's selector
        os.close(self._wake_in)
        os.close(self._wake_out)


_all: weakref.WeakSet[Listener] = weakref.WeakSet()


def _in_child() -> None:
    for listener in list(_all):
        listener.abandon()


at_fork(Order.LISTENERS, _in_child)
