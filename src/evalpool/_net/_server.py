"""Questions and answers with one thread per peer, so that an answer may take long."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

from evalpool._fork import Order, at_fork
from evalpool._guard import guarded_act
from evalpool._log import get_logger
from evalpool._net._listener import Listener, Peer
from evalpool._net._sockets import listen_locally

__all__ = ["AnswerServer"]

logger = get_logger()

END_WITHIN = 2.0
"""Seconds that an answering thread may take to end."""


class AnswerServer:
    """Answers the programs of this host that know the key, until it is closed.

    Args:
        answer: takes a peer's question and returns the answer, in the thread of that peer. If it raises, the error is
            logged and the peer's connection is closed.
        name: of its threads.

    Attributes:
        address, key: for `evalpool._net._connect.connect`. Questions and answers are frames of
            `multiprocessing.connection.Connection`, as bytes.
    """

    def __init__(self, answer: Callable[[bytes], bytes], name: str) -> None:
        self._answer, self._name = answer, name
        self._lock = threading.Lock()
        self._served: dict[Connection, threading.Thread] = {}
        listening, self.address = listen_locally()
        self._listener = Listener([listening], self._take, name)
        self.key = self._listener.key
        _all.add(self)

    def _take(self, peer: Peer) -> None:
        connection = Connection(peer.socket.detach())
        thread = guarded_act(self._name, "A thread that answers other programs", partial(self._serve, connection))
        with self._lock:
            self._served[connection] = thread
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads
                del self._served[connection]
                connection.close()
                raise

    def _serve(self, connection: Connection) -> None:
        """Answer one peer until it closes the connection, or an answer raises, which closes it."""
        try:
            while True:
                connection.send_bytes(self._answer(connection.recv_bytes()))
        except (OSError, EOFError):
            return  # the peer or we have closed the connection
        except Exception:
            logger.exception("A question to evalpool could not be answered; the connection is closed.")
        finally:
            with self._lock:  # `close` must not shut down another connection that gets this descriptor next
                self._served.pop(connection, None)
                connection.close()

    def close(self) -> None:
        """End every connection and thread. A second call does nothing."""
        self._listener.close()
        with self._lock:
            served = dict(self._served)
            for connection in served:
                _shut_down(connection)
        for thread in served.values():
            if thread is not threading.current_thread():
                thread.join(END_WITHIN)

    def _abandon(self) -> None:
        """In a forked child: close our copies; else peers would wait for us after the parent has died."""
        for connection in self._served:
            connection.close()


def _shut_down(connection: Connection) -> None:
    """Wake the thread that reads from a connection, which closing the connection would not do."""
    peer = socket.socket(fileno=connection.fileno())
    try:
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
    finally:
        peer.detach()


_all: weakref.WeakSet[AnswerServer] = weakref.WeakSet()


def _in_child() -> None:
    for server in list(_all):
        server._abandon()


at_fork(Order.LISTENERS, _in_child)
