"""Ranks of searches over benchmarks, whether they differ, and how often each is how much slower than the fastest.

Sources:

- J. Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", Journal of Machine Learning Research 7
  (2006), section 3.2.2: average ranks, Friedman's test, Nemenyi's critical difference. A data set there is a benchmark
  here.
- E. D. Dolan and J. J. Moré, "Benchmarking optimization software with performance profiles", Mathematical Programming
  91 (2002), section 2.
- J. J. Moré and S. M. Wild, "Benchmarking derivative-free optimization algorithms", SIAM Journal on Optimization 20
  (2009), equation 2.2: a problem is solved when the objective has come within a share of the best one.
- B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3: percentile intervals.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "CriticalDifference",
    "PerformanceProfile",
    "critical_difference",
    "mean_costs",
    "mean_ranks",
    "performance_profile",
]

NEMENYI = {
    0.05: (1.960, 2.344, 2.569, 2.728, 2.850, 2.948, 3.031, 3.102, 3.164, 3.219, 3.268, 3.313, 3.354, 3.391, 3.426,
           3.458, 3.489, 3.517, 3.544),
    0.10: (1.645, 2.052, 2.291, 2.460, 2.589, 2.693, 2.780, 2.855, 2.920, 2.978, 3.030, 3.077, 3.120, 3.159, 3.196,
           3.230, 3.261, 3.291, 3.319),
}  # fmt: skip
"""Level -> q for 2, 3, ... 20 searches: quantiles of the studentised range with infinite degrees of freedom, divided by
the root of 2. Up to ten they are table 5(a) of Demšar, to within its rounding; `tests/benchmarks` computes them."""

RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class CriticalDifference:
    """Average ranks, and how far apart two must be to differ.

    Attributes:
        searches: the best first.
        ranks: their average ranks over the blocks; 1 is the best.
        distance: two searches whose ranks differ by less are not told apart, at level `alpha`.
        alpha: the level.
        num_blocks: how many benchmarks, or runs, were ranked.
        statistic, p_value: of Friedman's test that all searches are equal, with the distribution of chi-squared. If it
            does not reject, the differences of single pairs mean little.
        groups: the largest sets of neighbours, by their places in `searches`, that are not told apart: (first, last).
    """

    searches: tuple[str, ...]
    ranks: tuple[float, ...]
    distance: float
    alpha: float
    num_blocks: int
    statistic: float
    p_value: float
    groups: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class PerformanceProfile:
    """How often each search solves a problem within how many times the cost of the fastest one.

    Attributes:
        searches: their names.
        ratios: float array (n searches, n problems): cost of the search on the problem, divided by the smallest cost of
            any search on it; infinity where it does not solve the problem.
    """

    searches: tuple[str, ...]
    ratios: Floats

    def share(self, search: str, factor: float) -> float:
        """The share of problems that a search solves within `factor` times the smallest cost; 0 to 1."""
        if search not in self.searches:
            raise BadArgument(f"There is no search {search!r}; there are {', '.join(self.searches)}.")
        ratios = self.ratios[self.searches.index(search)]
        return float(np.mean(ratios <= factor)) if ratios.size else 0.0


def ranks_of(costs: Floats) -> Floats:
    """Ranks along the last axis, 1 for the smallest; equal ones share the mean of their ranks."""
    below = costs[..., None, :] < costs[..., :, None]
    equal = costs[..., None, :] == costs[..., :, None]
    return np.asarray(1 + below.sum(axis=-1) + (equal.sum(axis=-1) - 1) / 2, dtype=float)


def mean_costs(costs: Floats) -> Floats:
    """Means along the axis before the last; the same for the same costs in any order, so that equal searches tie."""
    return np.asarray(np.sort(costs, axis=-2).mean(axis=-2), dtype=float)


def mean_ranks(runs: Sequence[Floats], *, confidence: float = 0.95, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Return each search's average rank over benchmarks, and the ends of its confidence interval.

    On each benchmark the means over the runs are ranked; then the ranks are averaged. The interval is what other seeds
    would give: the percentile bootstrap over the runs of each benchmark. It says nothing about other benchmarks.

    Args:
        runs: per benchmark, float array (n runs, n searches) of costs, smaller is better, without NaN.
        confidence: of the interval.
        seed: of the resampling.

    Returns:
        three float arrays (n searches,).
    """
    rng = np.random.default_rng(seed)
    average = np.mean([ranks_of(mean_costs(costs)) for costs in runs], axis=0)
    drawn = np.mean(
        [ranks_of(mean_costs(costs[rng.integers(len(costs), size=(RESAMPLES, len(costs)))])) for costs in runs], axis=0
    )
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return average, low, high


def critical_difference(searches: Sequence[str], costs: Floats, alpha: float = 0.05) -> CriticalDifference:
    """Compare searches over blocks by Friedman's test and Nemenyi's critical difference (Demšar 2006, 3.2.2).

    Args:
        searches: 2 to 20 names.
        costs: float array (n blocks, n searches), smaller is better, without NaN; at least two blocks.
        alpha: 0.05 or 0.1.

    Raises:
        BadArgument: there are too few or too many, or another level.
    """
    blocks, k = costs.shape
    if alpha not in NEMENYI:
        raise BadArgument(f"alpha is {alpha!r}; give 0.05 or 0.1.")
    if not 2 <= k <= len(NEMENYI[alpha]) + 1:
        raise BadArgument(f"A critical difference needs 2 to {len(NEMENYI[alpha]) + 1} searches; there are {k}.")
    if blocks < 2:
        raise BadArgument(
            f"A critical difference needs at least 2 benchmarks on which all searches have results; there are {blocks}."
        )
    each = ranks_of(costs)
    ranks = each.mean(axis=0)
    # With ties: W. J. Conover, "Practical Nonparametric Statistics" (1999), section 5.8. Without, it is Demšar's.
    squares = float(np.sum(each**2)) - blocks * k * (k + 1) ** 2 / 4
    between = float(np.sum((blocks * ranks - blocks * (k + 1) / 2) ** 2))
    statistic = (k - 1) * between / squares if squares > 0 else 0.0
    distance = NEMENYI[alpha][k - 2] * math.sqrt(k * (k + 1) / (6 * blocks))
    order = np.argsort(ranks, kind="stable")
    ordered = [float(ranks[place]) for place in order]
    return CriticalDifference(
        searches=tuple(searches[place] for place in order),
        ranks=tuple(ordered),
        distance=distance,
        alpha=alpha,
        num_blocks=blocks,
        statistic=statistic,
        p_value=chi_squared_tail(statistic, k - 1),
        groups=_groups(ordered, distance),
    )


def _groups(ranks: list[float], distance: float) -> tuple[tuple[int, int], ...]:
    """The largest intervals of at least two ordered ranks within `distance`."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(place for place, other in enumerate(ranks) if other - rank < distance)
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return tuple(found)


def chi_squared_tail(value: float, freedom: int) -> float:
    """The probability that chi-squared with whole degrees of freedom exceeds a value.

    A finite sum (M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 26.4.4 and 26.4.5).
    """
    half = value / 2
    if freedom % 2:
        total, term = math.erfc(math.sqrt(half)), math.exp(-half) * math.sqrt(half) / math.gamma(1.5)
        steps = [one + 0.5 for one in range(1, (freedom - 1) // 2)]
        count = (freedom - 1) // 2
    else:
        total, term = 0.0, math.exp(-half)
        steps = [float(one) for one in range(1, freedom // 2)]
        count = freedom // 2
    for number in range(count):
        total += term
        if number < len(steps):
            term *= half / steps[number]
    return min(1.0, total)


def performance_profile(searches: Sequence[str], costs: Any) -> PerformanceProfile:
    """Return the performance profile of costs (Dolan and Moré 2002, section 2).

    Args:
        searches: their names.
        costs: float array (n problems, n searches), smaller is better; infinity for a problem that is not solved. A
            problem that no search solves counts as unsolved by each.
    """
    given = np.asarray(costs, dtype=float).reshape(-1, len(searches))
    least = given.min(axis=1, keepdims=True, initial=math.inf)
    ratios = np.full(given.shape, math.inf)
    solved = np.isfinite(given)
    # A cost of 0 is reached by no factor of another one; two of 0 are equal.
    np.divide(given, least, out=ratios, where=solved & (least > 0))
    ratios[solved & (given == least)] = 1.0
    return PerformanceProfile(tuple(searches), ratios.T.copy())
