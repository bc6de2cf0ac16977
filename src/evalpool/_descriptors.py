"""File descriptors: waiting for one, whatever its number, and raising the limit on their number.

`select(2)` accepts no descriptor above 1 023 (`FD_SETSIZE`), so a program with many open files or many workers could
not wait for a pipe. `poll(2)` has no such limit, and unlike epoll it needs no descriptor itself.

By default a process may open few files (the soft limit of `RLIMIT_NOFILE`, mostly 1 024), because programs that use
`select` fail above that. It may ask for more (up to the hard limit). We ask when we need more, and only for this
process: processes that it starts get the limit that the user had set.
"""

from __future__ import annotations

import contextlib
import os
import selectors
from collections.abc import Callable
from functools import partial
from typing import Any

from evalpool._log import get_logger

__all__ = ["advice", "can_read", "can_write", "looker", "make_room", "restore_limit_of"]

logger = get_logger()

_Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""Without poll (on Windows), select has no limit on the number."""


def looker(file: Any) -> Callable[[], Any]:
    """Return a function that says at once whether this file can be read, or has ended: for many looks at one file."""
    selector = _Selector()
    selector.register(file, selectors.EVENT_READ)
    return partial(selector.select, 0)


def can_read(*files: Any, timeout: float | None = 0.0) -> list[int]:
    """Return the descriptors that can be read without waiting, or have ended; wait for the first up to `timeout` s."""
    return _ready(files, selectors.EVENT_READ, timeout)


def can_write(file: Any) -> bool:
    """Whether a file can be written without waiting. Raises `OSError` or `ValueError` if it is not an open file."""
    return bool(_ready((file,), selectors.EVENT_WRITE, 0.0))


def _ready(files: tuple[Any, ...], event: int, timeout: float | None) -> list[int]:
    with _Selector() as selector:
        for file in files:
            selector.register(file, event)
        return [key.fd for key, _ in selector.select(timeout)]


_first_limit: tuple[int, int] | None = None
"""The soft and the hard limit before we raised the soft one."""


def make_room(wanted: int) -> bool:
    """Raise the soft limit on open files if `wanted` more may not fit; return whether they fit then."""
    try:
        import resource
    except ImportError:  # Windows: no such limit
        return True
    global _first_limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return True
    # The system gives the lowest free number, which shows how many are open without counting them.
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
        with contextlib.suppress(ValueError, OSError):  # the kernel has another limit, on macOS below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            logger.info("The limit of open files of this process was raised from %d to %d.", soft, more)
            _first_limit = _first_limit or (soft, hard)
            soft = more
    return lowest + wanted <= soft


def restore_limit_of(pid: int) -> None:
    """Give a process that we started the limit that we had before `make_room` raised it."""
    if _first_limit is None:
        return
    import resource

    if hasattr(resource, "prlimit"):  # Linux
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, and the pid may be reused
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _first_limit)


def advice(wanted: int) -> str:
    """Return what a user can do if `make_room` failed."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"This process may open {soft} files, which is its highest limit, and needs about {wanted} more. Raise the "
        "limit with `ulimit -n` (`LimitNOFILE=` in systemd, `--ulimit nofile=` in Docker), or use fewer workers."
    )
