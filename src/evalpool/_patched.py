"""Programs whose standard library is not the one that we know: gevent and eventlet put theirs in its place.

Then a thread is a greenlet, a socket never blocks, and a wait is a switch to another greenlet. Threads of ours that
wait in the kernel, on a timer or for a process, would stop all greenlets; sockets that we share with worker processes
would not wait. What needs neither goes on: threads, the calling thread, storages.
"""

from __future__ import annotations

import sys
from typing import Any

from evalpool.errors import BackendError

__all__ = ["refuse_if_patched", "refuse_queues_of_greenlets"]

GEVENTS = ("socket", "select", "threading", "_thread", "subprocess")
THREADS = ("threading", "_thread")
EVENTLETS = ("socket", "select", "thread", "subprocess")


def refuse_if_patched(who: str) -> None:
    """Raise `BackendError` if modules that `who` needs as they are have been replaced."""
    for package, module, ask, names in (
        ("gevent", "gevent.monkey", "is_module_patched", GEVENTS),
        ("eventlet", "eventlet.patcher", "is_monkey_patched", EVENTLETS),
    ):
        asked: Any = getattr(sys.modules.get(module), ask, None)
        patched = [] if asked is None else [name for name in names if asked(name)]
        if patched:
            raise BackendError(
                f"{who} cannot work here: {package} has replaced {', '.join(patched)} of the standard library, and "
                "processes that are watched by threads need them as they are. Use the method 'thread' or 'serial', or "
                f"run the search in a process of its own that {package} does not patch."
            )


def refuse_queues_of_greenlets(who: str) -> None:
    """Raise `BackendError` if threads are the system's and queues are not: nothing passes between them then."""
    patched: Any = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    if patched is not None and patched("queue") and not any(map(patched, THREADS)):
        raise BackendError(
            f"{who} cannot work here: gevent has replaced queue of the standard library, and not threading, so that "
            "threads cannot pass each other anything. Patch both or neither, "
            "as in monkey.patch_all(thread=False, queue=False), or use the method 'serial'."
        )
