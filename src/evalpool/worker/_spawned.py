"""Processes that a job's own code spawns: what `multiprocessing` takes for `__main__` there.

A child of the methods `spawn` and `forkserver`, or of loky, looks for the script's functions and classes in its own
`__main__`, which it makes by running again the module that the `__spec__` of its parent's `__main__` names. In a
worker of ours `__main__` was never run, so its spec names `evalpool.worker._spawned_main`, which runs no script: it
adopts there what the worker had adopted.

What the child needs for that travels inside the name, in what `multiprocessing` pickles for each child. So nothing is
made before somebody spawns, and no file is written.
"""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from typing import Any

from evalpool.worker._path import understood_path

__all__ = ["adopted_main", "receive", "spec_for_children"]

_MODULE = "evalpool.worker._spawned_main"

_BOOT = "__import__('sys').path.extend(path) or __import__('evalpool.worker._spawned', fromlist=['_']).receive(origin)"
"""A child unpickles the name before it has its parent's path, on which this package may be."""

_origin: list[bytes] = []
"""In a child: what came with the name."""


class _Name(str):
    """The module's name; unpickled in another process, it has brought the origin there."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        from evalpool.worker._origin import describe

        return eval, (_BOOT, {"path": understood_path(), "origin": describe()})


def spec_for_children() -> ModuleSpec:
    """The `__spec__` of a `__main__` that stands for the program's script."""
    return ModuleSpec(_Name(_MODULE), None)


def receive(origin: bytes) -> str:
    """In a child: keep the origin until `adopted_main`; returns the name of the module that asks for it."""
    _origin[:] = [origin]
    return _MODULE


def adopted_main() -> Any:
    """In a child: adopt what came; returns what is now its `__main__`, which knows the names of the script."""
    import sys

    from evalpool.worker._origin import adopt

    adopt(_origin[0], ours=True)
    return sys.modules["__main__"]
