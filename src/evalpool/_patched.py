"""Programs in which gevent or eventlet have replaced parts of the standard library.

Then a thread is a greenlet, a socket never blocks, and a wait is a switch to another greenlet. Threads of ours that
wait in the kernel, for a timer or a process, would stop all greenlets; sockets that we share with worker processes
would not wait. Parts that need neither still work: threads, the calling thread, storages.
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
                f"{who} cannot work here: {package} has replaced {', '.join(patched)} of the standard library, but "
                "supervised processes need the original modules. Use the method 'thread' or 'serial', or run the "
                f"search in a separate process that {package} does not patch."
            )


def refuse_queues_of_greenlets(who: str) -> None:
    """Raise `BackendError` if gevent has replaced queues but not threads: then queues do not work between threads."""
    patched: Any = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    if patched is not None and patched("queue") and not any(map(patched, THREADS)):
        raise BackendError(
            f"{who} cannot work here: gevent has replaced the standard library's queue, but not threading, so queues "
            "do not work between threads. Patch both or neither, "
            "as in monkey.patch_all(thread=False, queue=False), or use the method 'serial'."
        )
