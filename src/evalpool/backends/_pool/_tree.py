"""The processes below a process, as the kernel knows them. Linux; elsewhere none are found here."""

from __future__ import annotations

import os

__all__ = ["children", "descendants"]


def children(pid: int) -> list[int]:
    """The ids of a process's children; none if it has ended."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found = []
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
        except OSError:  # this thread has ended
            continue
    return found


def descendants(pid: int) -> list[int]:
    """Its children, theirs, and so on; those above before those below."""
    found, todo = [], [pid]
    while todo:
        below = children(todo.pop())
        found += below
        todo += below
    return found
