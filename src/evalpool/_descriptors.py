"""File descriptors: waiting for one, whatever its number, and having enough of them.

`select(2)` takes no descriptor above 1 023 (`FD_SETSIZE`), so a program with many open files or many workers could not
wait for a pipe. `poll(2)` has no such limit, and unlike epoll it needs no descriptor of its own.

A system lets a process open few files by default (the soft limit of `RLIMIT_NOFILE`, mostly 1 024), because programs
that use `select` fail above that, and more (the hard limit) to those that ask. So we ask when we need more, and only
for this process: what it starts gets the limit that the user had set.
"""

from __future__ import annotations

import contextlib
import os
import selectors
from typing import Any

from evalpool._log import get_logger

__all__ = ["advice", "can_read", "can_write", "make_room", "restore_limit_of"]

logger = get_logger()

_Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""Where there is no poll (Windows), select has no limit to the number."""


def can_read(*files: Any, timeout: float | None = 0.0) -> list[int]:
    """The numbers of those that can be read without waiting, or have ended; waits for the first `timeout` seconds."""
    return _ready(files, selectors.EVENT_READ, timeout)


def can_write(file: Any) -> bool:
    """Does it take something without waiting? Raises `OSError` or `ValueError` if it is no open file."""
    return bool(_ready((file,), selectors.EVENT_WRITE, 0.0))


def _ready(files: tuple[Any, ...], event: int, timeout: float | None) -> list[int]:
    with _Selector() as selector:
        for file in files:
            selector.register(file, event)
        return [key.fd for key, _ in selector.select(timeout)]


_first_limit: tuple[int, int] | None = None
"""Soft and hard, as they were before we raised the soft one."""


def make_room(wanted: int) -> bool:
    """Raise the soft limit on open files, if `wanted` more may not fit and the hard limit allows it; False if not."""
    try:
        import resource
    except ImportError:  # Windows: no such limit
        return True
    global _first_limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return True
    # The system gives the lowest number that is free, so this one tells how many are open without counting them.
    try:
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        lowest = soft
    else:
        os.close(lowest)
    if lowest + wanted <= soft:
        return True
    more = max(2 * soft, lowest + 2 * wanted)
    more = more if hard == resource.RLIM_INFINITY else min(hard, more)
    if more > soft:
        with contextlib.suppress(ValueError, OSError):  # the kernel has a limit of its own, on macOS below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            logger.info("The limit of open files of this process was raised from %d to %d.", soft, more)
            _first_limit = _first_limit or (soft, hard)
            soft = more
    return lowest + wanted <= soft


def restore_limit_of(pid: int) -> None:
    """Give a process that we have started the limit that was ours before `make_room` raised it."""
    if _first_limit is None:
        return
    import resource

    if hasattr(resource, "prlimit"):  # Linux
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or is another user's by now
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _first_limit)


def advice(wanted: int) -> str:
    """What to do where `make_room` could not."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"This process may open {soft} files, which is the most that it can ask for, and needs about {wanted} more: "
        "raise the limit with `ulimit -n` (`LimitNOFILE=` in systemd, `--ulimit nofile=` in Docker), or take fewer "
        "workers."
    )
