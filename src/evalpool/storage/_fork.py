"""Gives storage clients new locks, writer threads, files and connections in a forked child: the old ones belong to the
parent.

SQLite also remembers, in the memory of the process, which of its connections hold locks on the file. A child that is
forked during a transaction would believe for ever that it holds such a lock itself. So a client may name locks that are
acquired before a fork, which ensures that none of its threads is inside SQLite at that moment.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, Protocol

from evalpool._fork import Order, at_fork

__all__ = ["renew_after_fork"]


class Forkable(Protocol):
    def _after_fork(self) -> None:
        """Called first of all in a forked child, while it has only this thread."""


LOCK_WITHIN = 5.0
"""Seconds that a fork waits at most for a lock: the thread that holds it may be waiting for another program."""

_clients: weakref.WeakSet[Forkable] = weakref.WeakSet()


def renew_after_fork(client: Forkable) -> None:
    """Have `client._after_fork` called in every child that this process forks."""
    _clients.add(client)


def abandon(thing: object) -> None:
    """Count a reference to `thing` that nobody has, so that it is never closed: that would disturb the parent's use.

    Whatever refers to it in Python is cleared when the interpreter ends, and then it would be closed, with a warning.
    """
    import ctypes  # only in a child that inherits something open

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


_here = threading.local()  # .held: the locks of the thread that forks


def _before() -> None:
    held: list[Any] = []
    for client in sorted(_clients, key=id):  # in one order, as several threads may fork
        held += (lock for lock in getattr(client, "_fork_locks", tuple)() if lock.acquire(timeout=LOCK_WITHIN))
    _here.held = held


def _in_parent() -> None:
    for lock in reversed(_here.held):
        lock.release()
    _here.held = []


def _in_child() -> None:
    _here.held = []
    for client in list(_clients):
        client._after_fork()


at_fork(Order.STORAGES, _in_child, before=_before, in_parent=_in_parent)
