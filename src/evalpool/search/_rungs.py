"""The budgets at which halving compares, and when two budgets are the same although they were computed differently.

For a computer ``0.1 * 3`` is not 0.3. Here it is the same budget: two that differ by less than a billionth are equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from evalpool._checks import is_number
from evalpool.errors import BadArgument

__all__ = ["SAME", "place_of", "rungs_below", "threshold"]

SAME = 1e-9
"""By which share two numbers may differ that are one budget."""

MOST_RUNGS = 1000
"""More would be a mistake: each has a state of its own, and Hyperband has as many brackets as rungs."""


def threshold(budget: float) -> float:
    """Return the least number that reaches a budget."""
    return budget * (1 - SAME)


def place_of(value: Any, levels: Sequence[float]) -> int | None:
    """Return the place of the level that a value is; None if it is none of them, or no finite number."""
    if not is_number(value):
        return None
    return next((place for place, level in enumerate(levels) if math.isclose(level, value, rel_tol=SAME)), None)


def rungs_below(low: float, high: float, factor: float) -> list[float]:
    """Return ``low * factor**k``, for k from 0, as far as it is below `high`. Raises as `check_reduction`."""
    count = math.ceil(check_reduction(factor, low, high) - SAME)
    return [low * factor**k for k in range(count)]


def check_reduction(factor: Any, low: float, high: float) -> float:
    """Return how many times the argument ``reduction_factor`` fits between the budgets `low` and `high`.

    Raises:
        BadArgument: it is no number above 1, or makes too many rungs.
    """
    if not is_number(factor) or factor <= 1:
        raise BadArgument(f"reduction_factor is {factor!r}; give a number above 1.")
    rungs = (math.log(high) - math.log(low)) / math.log(factor)
    if rungs > MOST_RUNGS:
        raise BadArgument(
            f"reduction_factor is {factor!r}, which makes {rungs:,.0f} rungs from {low:g} to {high:g}; give a larger "
            f"one, that makes at most {MOST_RUNGS:,}. One of this many configurations continues at each rung."
        )
    return rungs
