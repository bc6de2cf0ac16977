"""The descendants of a process, from Linux's kernel; on other systems none are found here."""

from __future__ import annotations

import os

__all__ = ["children", "descendants"]


def children(pid: int) -> list[int]:
    """Return the ids of a process's children; none if it has ended."""
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
    """Return the ids of all descendants of a process; a parent comes before its children."""
    found, todo = [], [pid]
    while todo:
        below = children(todo.pop())
        found += below
        todo += below
    return found
