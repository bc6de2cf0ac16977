"""What a forked child must not share with its parent: locks that may be held, threads, files, sockets.

`os.fork` copies a process with one thread. A lock that another thread held stays locked for ever, a writer
thread is gone, and a database connection used by both corrupts. Clients that own such things register here
and begin anew in the child.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["renew_after_fork"]


class Forkable(Protocol):
    def _after_fork(self) -> None:
        """Called in a forked child, before anything else there; has only this thread."""


_clients: weakref.WeakSet[Forkable] = weakref.WeakSet()
_abandoned: list[object] = []


def renew_after_fork(client: Forkable) -> None:
    """Have `client._after_fork` called in every child that this process forks."""
    _clients.add(client)


def abandon(thing: object) -> None:
    """Keep `thing` for ever: closing it here would act on what the parent still uses."""
    _abandoned.append(thing)


def _in_child() -> None:
    for client in list(_clients):
        client._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
