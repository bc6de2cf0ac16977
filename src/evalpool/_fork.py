"""What a forked child must not share with its parent, made anew there by one hook in a fixed order.

`os.fork` copies a process with one thread: a lock that another thread held stays locked for ever, other threads
are gone, and a socket or database used by both corrupts. Parts that own such things register here. In the child
they begin anew in the order of `Order`, so that each finds those it builds on whole. Before the fork they may take
locks, and release them after it in the parent.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from typing import NamedTuple

from evalpool._log import get_logger

__all__ = ["Order", "at_fork", "process"]

logger = get_logger()


class Order(enum.IntEnum):
    """Which parts begin anew in a forked child before which."""

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


class _Process:
    """This process, to be told from its forked children and from its parent.

    Attributes:
        generation: how many forks it is away from the process that imported this; the child's is another one than its
            parent's. To read it costs nothing, where `os.getpid` is a call into the system.
    """

    __slots__ = ("generation",)

    def __init__(self) -> None:
        self.generation = 0


process = _Process()
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
        in_child: called in each forked child, which has only this thread; it waits for no lock and does no I/O.
        before: called in the forking thread before the fork.
        in_parent: called there after it.
    """
    _parts.append(_Part(order, in_child, before, in_parent))
    _parts.sort(key=lambda part: part.order)  # stable: within a place in the order of registration


def _call(name: str, calls: list[Callable[[], None]]) -> None:
    """Each of them, whatever the others raise: a fork cannot be refused from here."""
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
    process.generation += 1
    _call("in the child of", [part.in_child for part in _parts])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
