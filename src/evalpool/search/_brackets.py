"""The brackets of Hyperband: how many configurations each gets, and which.

Source: L. Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization" (JMLR 18, 2018),
algorithm 1.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence

__all__ = ["round_robin", "shares"]

GOLDEN = (math.sqrt(5) - 1) / 2
"""The multiples of this number, without their whole parts, fill the unit interval evenly, however many there are."""


def shares(rungs: int, brackets: int, factor: float) -> list[float]:
    """Return the share of the configurations that each bracket gets; bracket 0 begins at the first rung.

    A bracket of r rungs begins with ``factor**(r - 1) * rungs / r`` configurations, rounded up.

    Args:
        rungs: how many rungs there are, the highest included.
        brackets: how many brackets, at most as many.
        factor: one of this many configurations reaches the next rung.
    """
    sizes = [math.ceil(factor ** (r - 1) * rungs / r - 1e-9) for r in range(rungs, rungs - brackets, -1)]
    return [size / sum(sizes) for size in sizes]


def round_robin(number: int, parts: Sequence[float]) -> int:
    """Return the bracket of the configuration with this number: of any consecutive ones, each gets its share."""
    return bisect.bisect_right(list(itertools.accumulate(parts))[:-1], (number * GOLDEN) % 1.0)
