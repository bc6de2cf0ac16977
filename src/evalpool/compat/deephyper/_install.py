"""Put evalpool's evaluators in the place of an installed deephyper's, and take them out again.

deephyper's searches, ensembles and stoppers import evaluators by name. So each name of `deephyper.evaluator`, and of
its `callback` and `storage`, is replaced there, where modules that are imported later find it, and in every module of
deephyper that has it already. The one method that takes an evaluator from the program says what is wrong with one of
the other world.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import evalpool
from evalpool.compat.deephyper import evaluator
from evalpool.compat.deephyper.evaluator import _in_workers as in_workers
from evalpool.compat.deephyper.evaluator import callback, storage
from evalpool.errors import BadArgument, CompatError, MissingExtra

__all__ = ["install", "uninstall"]

KNOWN = "0.13"
"""The minor version of deephyper that this package was compared with."""
ROOMS = {
    "deephyper.evaluator": evaluator,
    "deephyper.evaluator.callback": callback,
    "deephyper.evaluator.storage": storage,
}

_replaced: list[tuple[Any, Any]] = []
"""(deephyper's, ours) of each name; empty unless installed."""
_undo: list[Any] = []
_lock = threading.Lock()
"""Held by the thread that installs or uninstalls."""


def install() -> None:
    """Make an installed deephyper use evalpool's evaluators, jobs, callbacks and storages.

    Its searches, ensembles and stoppers then run on every backend of evalpool, with its guarantees. Call it before the
    program imports names from `deephyper.evaluator`: those that it has already are deephyper's own. `uninstall` undoes
    it.

    Raises:
        MissingExtra: deephyper is not installed.
        CompatError: it has been called already.

    Warns:
        UserWarning: the version of deephyper is none that evalpool knows.
    """
    with _lock:
        in_workers.forget()
        _install()


def _install() -> None:
    if _replaced:
        raise CompatError("install() was called already, and deephyper uses evalpool; call uninstall() to undo it.")
    theirs = _rooms()
    version = str(getattr(sys.modules["deephyper"], "__version__", "unknown"))
    if version.rpartition(".")[0] != KNOWN:
        warnings.warn(
            f"deephyper {version} is installed, and evalpool {evalpool.__version__} knows deephyper {KNOWN}: "
            "its searches may not work on evalpool's evaluators.",
            stacklevel=3,
        )
    for room, ours in zip(theirs, ROOMS.values(), strict=True):
        for name in ours.__all__:
            if hasattr(room, name):
                _replaced.append((getattr(room, name), getattr(ours, name)))
    _swap(_replaced)
    _guard_searches()
    _let_first_jobs_fail()
    in_workers.wanted = True


def uninstall() -> None:
    """Give deephyper its own evaluators back. What was made meanwhile goes on as it is.

    Raises:
        CompatError: `install` was not called.
    """
    with _lock:
        if not in_workers.forget():
            _uninstall()


def _uninstall() -> None:
    if not _replaced:
        raise CompatError("uninstall() was called, and deephyper does not use evalpool: there is no install() to undo.")
    for undo in _undo:
        undo()
    _undo.clear()
    _swap([(ours, theirs) for theirs, ours in _replaced])
    _replaced.clear()
    in_workers.wanted = False


def _rooms() -> list[ModuleType]:
    """deephyper's modules that ours stand for, imported."""
    try:
        with _without_broken_mpi():
            return [importlib.import_module(name) for name in ROOMS]
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "deephyper":
            raise
        raise MissingExtra.of("install() puts evalpool into deephyper, which is not installed", "compat") from error


@contextlib.contextmanager
def _without_broken_mpi() -> Iterator[None]:
    """deephyper can do without mpi4py, but not with one that finds no library of MPI."""
    name = "mpi4py.MPI"
    if name in sys.modules:
        yield
        return
    try:
        settings = importlib.import_module("mpi4py").rc
        settings.initialize, settings.finalize = False, True  # as deephyper does, before the first import counts
        importlib.import_module(name)
    except ImportError:
        yield
    except RuntimeError:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it is an ImportError
        try:
            yield
        finally:
            del sys.modules[name]
    else:
        yield


def _swap(pairs: list[tuple[Any, Any]]) -> None:
    """Replace each first by its second, wherever a module of deephyper has it; not where it is defined."""
    by_id = {id(old): (old, new) for old, new in pairs}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "deephyper" or not isinstance(module, ModuleType):
            continue
        if name.startswith("deephyper.evaluator._") or name.startswith("deephyper.evaluator.storage._"):
            continue
        own_room = name in ROOMS
        for attribute, value in list(vars(module).items()):
            found = by_id.get(id(value))
            if found is not None and (own_room or not attribute.startswith("__")):
                setattr(module, attribute, found[1])


def _guard_searches() -> None:
    """Say what is wrong with an evaluator that is not ours, where deephyper takes it."""
    from deephyper.hpo._search import Search

    theirs = Search.check_evaluator

    def check_evaluator(self: Any, given: Any) -> None:
        refuse_another_world(given)
        theirs(self, given)

    Search.check_evaluator = check_evaluator
    _undo.append(lambda: setattr(Search, "check_evaluator", theirs))


def _let_first_jobs_fail() -> None:
    """Let a search have as many objectives as its first success.

    deephyper takes the number from the first job, and ends with an error if that failed and later ones have several
    objectives. There the search ends with a run-function that raises; here it goes on.
    """
    from deephyper.hpo._search import SearchHistory

    theirs = SearchHistory.extend

    def extend(self: Any, jobs: Any) -> None:
        if self.num_objective in (None, 1):
            for job in jobs:
                if isinstance(job.objective, (tuple, list)):
                    self.set_num_objective(job)
                    break
        theirs(self, jobs)

    SearchHistory.extend = extend
    _undo.append(lambda: setattr(SearchHistory, "extend", theirs))


def refuse_another_world(given: Any) -> None:
    """Raise `BadArgument` for an evaluator of deephyper's own, or of evalpool's core."""
    kind = type(given)
    if isinstance(given, evalpool.Evaluator):
        raise BadArgument(
            f"The evaluator is an evalpool.{kind.__name__}, and a search of deephyper's needs one with deephyper's "
            "interface: make it by evalpool.compat.deephyper.evaluator.Evaluator.create(...)."
        )
    if any(cls.__module__.startswith("deephyper.evaluator.") for cls in kind.__mro__):
        raise BadArgument(
            f"The evaluator is a {kind.__name__} of deephyper's own, and install() has put evalpool in its place. Call "
            "install() before `from deephyper.evaluator import Evaluator`, or uninstall()."
        )
