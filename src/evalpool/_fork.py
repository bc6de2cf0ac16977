"""Resets in a forked child what it must not share with its parent: one hook, in a fixed order.

`os.fork` copies a process with only one thread: a lock that another thread held stays locked for ever, other threads do
not exist in the child, and a socket or database that both use is corrupted. Parts that own such things register here.
In the child they are reset in the order of `Order`, so that each part finds the parts that it uses reset already. A
part may take locks before the fork, and release them after it in the parent.
"""

from __future__ import annotations

import enum
import mmap
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from evalpool._log import get_logger

__all__ = ["Order", "at_fork", "begin_generation", "generation"]

logger = get_logger()


class Order(enum.IntEnum):
    """The order in which parts are reset in a forked child."""

    INTERRUPTS = 0
    LISTENERS = 1
    STORAGES = 2
    CORE = 3
    ENGINES = 4
    SIMULATION = 5


class _Part(NamedTuple):
    order: Order
    in_child: Callable[[], None]
    before: Callable[[], None] | None
    in_parent: Callable[[], None] | None


def _page() -> Any:
    """Return memory with a byte that distinguishes this process from its forked children, however they are forked.

    On Linux a child gets this page filled with zeros (``madvise(2)``, MADV_WIPEONFORK, from 4.14 on), even if C code
    forks and no hook of Python runs. Elsewhere the hook below changes it, so only Python's own forks are noticed.
    Reading it costs a tenth of `os.getpid`, which is a system call.
    """
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(WIPE_ON_FORK)
    except (AttributeError, OSError, ValueError):
        return bytearray(1)
    return page


WIPE_ON_FORK = 18
GENERATIONS = 255
generation = _page()
"""``generation[0]`` differs between a forked child and its parent; it is 0 in a child that C code forked."""


def begin_generation(anew: bool = False) -> int:
    """Give this process a number that its parents do not have, if it has none; return the number. Any thread.

    Args:
        anew: whether to replace a number, which is the parent's.
    """
    global _forks
    before = _forks  # read first, so that a concurrent thread computes the same number
    if generation[0] and not anew:
        return int(generation[0])
    generation[0] = (before + 1) % GENERATIONS + 1
    _forks = before + 1
    return int(generation[0])


_forks = -1
begin_generation()
_parts: list[_Part] = []


def at_fork(
    order: Order,
    in_child: Callable[[], None],
    *,
    before: Callable[[], None] | None = None,
    in_parent: Callable[[], None] | None = None,
) -> None:
    """Register a part of this process.

    Args:
        order: its place among the others.
        in_child: called in each forked child, which has only this thread; it must not wait for a lock or do I/O.
        before: called in the forking thread before the fork.
        in_parent: called there after it.
    """
    _parts.append(_Part(order, in_child, before, in_parent))
    _parts.sort(key=lambda part: part.order)  # stable: parts of equal order stay in the order of registration


def _call(name: str, calls: list[Callable[[], None]]) -> None:
    """Call all of them, even if some raise, because a fork cannot be refused here."""
    for call in calls:
        try:
            call()
        except Exception:
            logger.exception("%s %s a fork failed in process %d.", call, name, os.getpid())


def _before() -> None:
    _call("before", [part.before for part in reversed(_parts) if part.before is not None])


def _in_parent() -> None:
    _call("after", [part.in_parent for part in _parts if part.in_parent is not None])


def _in_child() -> None:
    begin_generation(anew=True)
    _call("in the child of", [part.in_child for part in _parts])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
