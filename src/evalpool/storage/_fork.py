"""Storage clients begin anew in a forked child: their locks, writer threads, files and connections are the parent's.

SQLite also remembers, per process, which of its connections hold the file's locks: a child that is forked amidst a
transaction finds the file locked by itself, for ever. So a client may name locks that are taken before a fork: none of
its threads is inside SQLite then.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, Protocol

from evalpool._fork import Order, at_fork

__all__ = ["renew_after_fork"]


class Forkable(Protocol):
    def _after_fork(self) -> None:
        """Called in a forked child, before anything else there; has only this thread."""


LOCK_WITHIN = 5.0
"""Seconds that a fork waits for a lock: who holds it may wait for another program."""

_clients: weakref.WeakSet[Forkable] = weakref.WeakSet()
_abandoned: list[object] = []


def renew_after_fork(client: Forkable) -> None:
    """Have `client._after_fork` called in every child that this process forks."""
    _clients.add(client)


def abandon(thing: object) -> None:
    """Keep `thing` for ever: closing it here would act on what the parent still uses."""
    _abandoned.append(thing)


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
