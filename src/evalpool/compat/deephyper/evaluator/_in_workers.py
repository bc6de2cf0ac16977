"""What `install` did in the evaluator's process, worker processes do as well, before they load a run-function.

A module of the program that a worker imports may import names from `deephyper.evaluator`, such as a `JobStatus` that
it compares with. They must be the same there as here. deephyper takes seconds to import, so it is not imported for
that: `Later` stands in the way of its first import.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import Any

__all__ = ["AsHere", "arrived", "forget", "wanted"]

wanted = False
"""Has `install` been called in this process?"""
arrived = False
"""Has this process been sent a run-function? Then it is a worker. A module that it imports may make an evaluator, whose
workers would import the same module, and so on without end: they start when jobs are submitted to it."""

ROOM = "deephyper.evaluator"


class AsHere:
    """Pickled before a run-function, it makes the worker that loads it do as this process did."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _prepare, (wanted,)


def _prepare(install: bool) -> None:
    global arrived
    arrived = True
    if not install or wanted:
        return
    if ROOM in sys.modules:
        _install()
    elif not any(isinstance(finder, Later) for finder in sys.meta_path):
        sys.meta_path.insert(0, Later())


def forget() -> bool:
    """Wait no more for the import, as `install` or `uninstall` is called in this process; was it waited for?"""
    waiting = [finder for finder in sys.meta_path if isinstance(finder, Later)]
    for finder in waiting:
        sys.meta_path.remove(finder)
    return bool(waiting)


def _install() -> None:
    # The room above: it is loaded wherever this one is, and puts this one's names into deephyper.
    importlib.import_module("evalpool.compat.deephyper").install()


class Later(MetaPathFinder, Loader):
    """Calls `install` when `deephyper.evaluator` is first imported, which imports it whole, and then gives it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != ROOM:
            return None
        sys.meta_path.remove(self)
        _install()
        # What is being imported is there by now. The import takes the spec that the module has, and would load it anew.
        self._own = sys.modules[name].__spec__
        spec = sys.modules[name].__spec__ = importlib.machinery.ModuleSpec(name, self, is_package=True)
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own
