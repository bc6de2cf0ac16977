"""Stoppers by name or from a function. A stopper remembers the jobs that it saw, so each search needs a new one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from evalpool._functions import load_function, why_not_called
from evalpool._text import shown
from evalpool.benchmarks._benchmark import Benchmark
from evalpool.errors import BadArgument
from evalpool.search._hyperband import HyperbandStopper
from evalpool.search._stoppers import MedianStopper, SuccessiveHalvingStopper

__all__ = ["check_curves", "check_stopper", "make_stopper"]

STOPPERS: dict[str, Callable[..., Any]] = {
    "median": functools.partial(MedianStopper, interval_steps=None),
    "halving": SuccessiveHalvingStopper,
    "hyperband": HyperbandStopper,
}


def check_stopper(given: Any) -> Any:
    """Return what a stopper was given as, if it can be made: a name, a function, or None.

    Raises:
        BadArgument: there is none of this name, it is neither a name nor a function, or a function does not take one
            argument.
    """
    if given is None or (isinstance(given, str) and given in STOPPERS):
        return given
    make = _function(given) if isinstance(given, str) else given
    if not callable(make):
        raise BadArgument(
            f"stopper is {given!r} of type {type(given).__name__}; give one of {', '.join(map(repr, STOPPERS))}, or a "
            "function make(benchmark) that returns a stopper: each search needs a new one."
        )
    if (reason := why_not_called(make, None)) is not None:
        raise BadArgument(f"stopper is {shown(given)}, and {reason}; give a function make(benchmark).")
    return given


def check_curves(label: str, benchmark: Benchmark) -> None:
    """Raise `BadArgument` unless the jobs of a benchmark record learning curves up to its fidelity."""
    if benchmark.fidelity is None or not benchmark.has_curve:
        raise BadArgument(
            f"{label!r} has no learning curves, and a stopper decides from these; name a benchmark that has them, such "
            "as 'digits?curve=True'."
        )


def make_stopper(given: Any, label: str, benchmark: Benchmark) -> Any:
    """Return a new stopper for a search on a benchmark; None if none was given.

    Args:
        given: what `check_stopper` returned. A named one compares at budgets from the lowest fidelity to the highest:
            the median rule at each point of the curves, the others at their rungs.
        label: of the benchmark, for errors.
        benchmark: with learning curves.

    Raises:
        BadArgument: the benchmark has no learning curves, or a function returned no stopper.
    """
    if given is None:
        return None
    check_curves(label, benchmark)
    fidelity = benchmark.fidelity
    assert fidelity is not None
    if isinstance(given, str) and given in STOPPERS:
        return STOPPERS[given](max_steps=fidelity.high, min_steps=fidelity.low)
    made = (_function(given) if isinstance(given, str) else given)(benchmark)
    if isinstance(made, type) or not all(callable(getattr(made, method, None)) for method in ("observe", "stop")):
        raise BadArgument(f"The stopper {given!r} was made as {made!r}, which has no observe and stop.")
    return made


def _function(name: str) -> Callable[..., Any]:
    if ":" not in name:
        raise BadArgument(
            f"There is no stopper {name!r}; known are {', '.join(STOPPERS)}; or path/to/file.py:function, called with "
            "(benchmark)."
        )
    return load_function(name)
