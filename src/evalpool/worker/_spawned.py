"""The `__main__` of processes that a job's own code spawns.

A child of the methods `spawn` and `forkserver`, or of loky, looks for the script's functions and classes in its own
`__main__`, which it makes by running again the module that the `__spec__` of its parent's `__main__` names. In a
worker of ours `__main__` was never run, so its spec names `evalpool.worker._spawned_main`. That runs no script: it
adopts what the worker had adopted.

The data for that is in the pickle of the module's name, which `multiprocessing` sends to each child. So nothing is made
unless a child is spawned, and no file is written.
"""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from typing import Any

from evalpool.worker._path import understood_path

__all__ = ["adopted_main", "receive", "spec_for_children"]

_MODULE = "evalpool.worker._spawned_main"

_BOOT = "__import__('sys').path.extend(path) or __import__('evalpool.worker._spawned', fromlist=['_']).receive(origin)"
"""A child unpickles the name before it has its parent's path, which may be needed to import this package."""

_origin: list[bytes] = []
"""In a child: the origin that came with the name."""


class _Name(str):
    """The module's name; when it is unpickled in another process, it passes the origin to it."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        from evalpool.worker._origin import describe

        return eval, (_BOOT, {"path": understood_path(), "origin": describe()})


def spec_for_children() -> ModuleSpec:
    """Return the `__spec__` of a `__main__` that represents the program's script."""
    return ModuleSpec(_Name(_MODULE), None)


def receive(origin: bytes) -> str:
    """In a child: keep the origin for `adopted_main`; return the name of the module that calls that."""
    _origin[:] = [origin]
    return _MODULE


def adopted_main() -> Any:
    """In a child: adopt the origin; return the new `__main__`, which knows the names of the script."""
    import sys

    from evalpool.worker._origin import adopt

    adopt(_origin[0], ours=True)
    return sys.modules["__main__"]
