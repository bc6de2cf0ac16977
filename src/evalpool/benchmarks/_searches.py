"""Makes searches by a name or with a function of the user, for comparisons and for the command.

A comparison needs a new one for each cell, in the process that runs the cell. So it is not given optimisers, but what
makes them.
"""

from __future__ import annotations

import contextlib
import inspect
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from evalpool._functions import load_function, why_not_called
from evalpool._text import shown
from evalpool.benchmarks._benchmark import Benchmark
from evalpool.errors import BadArgument
from evalpool.search._named import SAMPLERS, named_search, quiet_optuna
from evalpool.simulation._simulate import simulate

__all__ = ["Once", "check_search", "make_search"]

FIXED = frozenset({"optimizer", "run_function", "num_workers", "max_evals", "max_time", "seed"})
"""Arguments of `simulate` that a search is not asked for: they are those of the comparison, or of the command."""


def check_search(label: str, given: Any, benchmarks: Iterable[Benchmark]) -> Any:
    """Return what a search was given as, if it can be made for one of the benchmarks at least.

    Raises:
        BadArgument: there is none of this name, it cannot search any of the benchmarks, it is neither a name nor a
            function, or a function that cannot be called with space and seed.
        MissingExtra: its package is not installed.
    """
    if isinstance(given, str) and not _is_file(given):
        _check_name(given, benchmarks)
        return given
    make = load_function(given) if isinstance(given, str) else given
    if not callable(make):
        raise BadArgument(
            f"The search {label!r} is {given!r} of type {type(given).__name__}; give a name such as 'tpe', or a "
            "function make(space, seed) that returns an optimiser: each cell needs a new one."
        )
    offered = {"num_workers": None, "max_evals": None}
    if (reason := why_not_called(make, None, None, **_wanted(make, offered))) is not None:
        raise BadArgument(
            f"The search {label!r} is {shown(given)}, and {reason}; give a function make(space, seed) or "
            f"make(benchmark, seed); it may have the parameters {' and '.join(offered)}, too."
        )
    return given


def make_search(
    label: str,
    given: Any,
    benchmark: Benchmark,
    seed: int,
    *,
    num_workers: int,
    max_evals: int | None,
    quiet: bool = True,
) -> tuple[Any, dict[str, Any]]:
    """Make a new optimiser; return it and the further arguments of `simulate` that it needs.

    Args:
        label: of the search, for errors.
        given: its name, as for `evalpool simulate`, or a function, or the name of one in a file.
        num_workers, max_evals: told to a function that has parameters of these names.
        quiet: whether Optuna may not log a line for each search.

    Raises:
        BadArgument: there is no such search, what was made has no `ask` and `tell`, or the further arguments are not
            some of those. What the function raises passes through.
        MissingExtra: its package is not installed.
    """
    if isinstance(given, str) and not _is_file(given):
        return _named(given, benchmark, seed, quiet=quiet, num_workers=num_workers, max_evals=max_evals), {}
    make = load_function(given) if isinstance(given, str) else given
    made = _call(make, benchmark, seed, num_workers=num_workers, max_evals=max_evals)
    optimizer, settings = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
    usable = all(callable(getattr(optimizer, method, None)) for method in ("ask", "tell"))
    if not usable or isinstance(optimizer, type) or not isinstance(settings, dict):
        raise BadArgument(
            f"The search {label!r} was made as {made!r}; its function must return an object with ask and tell, or that "
            "and a dict with further arguments of simulate."
        )
    known = [name for name in inspect.signature(simulate).parameters if name not in FIXED]
    if unknown := [name for name in settings if name not in known]:
        raise BadArgument(
            f"The search {label!r} was made with {unknown[0]!r} = {settings[unknown[0]]!r} as an argument of simulate; "
            f"its function may give {', '.join(known)}."
        )
    return optimizer, settings


class Once:
    """Notices an optimiser or a stopper that two cells get: it remembers what the first cell told it.

    Of objects that cannot be referred to weakly nothing is known.
    """

    def __init__(self) -> None:
        self._seen: dict[int, weakref.ref[Any]] = {}

    def check(self, label: str, *made: Any) -> None:
        """Raise `BadArgument` if a cell before had one of these."""
        for one in made:
            known = self._seen.get(id(one))
            if known is not None and known() is one:
                raise BadArgument(
                    f"The search {label!r} was given {shown(one)}, which another cell had before and which remembers "
                    "what it was told there; make a new one in the function, for each cell."
                )
            with contextlib.suppress(TypeError):
                self._seen[id(one)] = weakref.ref(one)


def _check_name(name: str, benchmarks: Iterable[Benchmark]) -> None:
    """Raise what is wrong with a name, or with each of the benchmarks for it, as there is no fidelity for `halving`."""
    wrong = None
    for benchmark in benchmarks:
        try:
            _named(name, benchmark, 0)
        except BadArgument as error:
            wrong = wrong or error
        else:
            return
    if wrong is not None:
        raise wrong


def _named(name: str, benchmark: Benchmark, seed: int, *, quiet: bool = True, **more: Any) -> Any:
    if quiet and name in SAMPLERS:
        quiet_optuna()
    return named_search(name, benchmark, seed, num_objectives=len(benchmark.objectives), **more)


def _is_file(name: str) -> bool:
    return name.rpartition(":")[0].endswith(".py")


def _call(make: Callable[..., Any], benchmark: Benchmark, seed: int, **offered: Any) -> Any:
    """Call ``make(space, seed)``, or ``make(benchmark, seed)``, with what is offered and it has parameters for."""
    first = benchmark if _names(make)[:1] == ["benchmark"] else benchmark.space
    return make(first, seed, **_wanted(make, offered))


def _wanted(make: Callable[..., Any], offered: dict[str, Any]) -> dict[str, Any]:
    """Those of the offered arguments that a function has parameters for, behind the first two."""
    names = _names(make)[2:]
    return {name: value for name, value in offered.items() if name in names}


def _names(make: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(make).parameters)
    except (TypeError, ValueError):  # of a compiled class
        return []
