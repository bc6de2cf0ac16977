"""Plots of a comparison: regret, ranks, critical differences, performance profiles.

Sources: for the diagram of critical differences, J. Demšar (Journal of Machine Learning Research 7, 2006), figure 1;
for performance profiles, E. D. Dolan and J. J. Moré (Mathematical Programming 91, 2002), section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalpool._checks import check_choice
from evalpool.analysis._performance import performance_over_time, plot_performance_over_time
from evalpool.analysis._style import COLOURS, legend_above, named_ticks, new_axes, tidy
from evalpool.benchmarks import Cell, Comparison, CriticalDifference, PerformanceProfile
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_critical_difference", "plot_performance_profile", "plot_ranks", "plot_regret"]

STYLES = ("-", "--", ":", "-.")
"""Of lines, after each round of colours."""


def plot_regret(
    comparison: Comparison,
    benchmark: str | None = None,
    workers: int | None = None,
    ax: Axes | None = None,
    *,
    over: str = "time",
) -> Axes:
    """Draw how the regret of each search on a benchmark falls: the median over seeds, and the middle half of them.

    Args:
        comparison: what `compare` returned.
        benchmark: one of its benchmarks; None if there is only one.
        workers: one of its numbers of workers; None if there is only one.
        ax: where to draw; None for a new figure.
        over: ``"time"``: virtual seconds; ``"evaluations"``: how many had ended.

    Raises:
        MissingExtra: matplotlib is not installed.
        BadArgument: an argument has a wrong value, or no cell has a result.
    """
    over = check_choice("over", over, ("time", "evaluations"))
    workers = comparison.check_workers(workers)
    if benchmark is None and len(comparison.benchmarks) == 1:
        benchmark = comparison.benchmarks[0]
    if benchmark not in comparison.benchmarks:
        raise BadArgument(f"benchmark is {benchmark!r}; give one of {', '.join(comparison.benchmarks)}.")
    runs: dict[str, tuple[list[Any], list[Any]]] = {}
    for search in comparison.searches:
        cells = [Cell(search, benchmark, workers, seed) for seed in comparison.seeds]
        found = [comparison.trajectory(cell) for cell in cells if cell in comparison.cells]
        if any(one[over] for one in found):
            runs[search] = [one[over] for one in found], [one["regret"] for one in found]
    if not runs:
        raise BadArgument(f"No search has a result on {benchmark!r} with {workers} workers; there is nothing to draw.")
    ends = [place for places, _ in runs.values() for one in places for place in one]
    curves = {
        search: performance_over_time(*values, start=min(ends), end=max(ends), n_points=200, minimize=True)
        for search, values in runs.items()
    }
    ax = plot_performance_over_time(curves, ax, band="quantiles")
    if over == "evaluations":
        ax.set_xlabel("evaluations that had ended")
    else:
        ax.set_xlabel(ax.get_xlabel().replace("time", "virtual time"))
    ax.set_ylabel("regret")
    # Zero, the best that is known, has its place on this axis, which is linear below the smallest regret above it.
    above = [value for _, values in runs.values() for one in values for value in one if value > 0]
    if above and min(above) < max(above) / 10:
        ax.set_yscale("symlog", linthresh=min(above))
        ax.set_ylim(bottom=0)
    return ax


def plot_ranks(comparison: Comparison, ax: Axes | None = None, *, confidence: float = 0.95) -> Axes:
    """Draw the average rank of each search over benchmarks for each number of workers, with confidence intervals.

    The intervals are those of `Comparison.summary`: what other seeds would give.

    Raises:
        MissingExtra: matplotlib or pandas is not installed.
        BadArgument: no benchmark has results of all searches, or `confidence` is not from 0 to 1.
    """
    table = comparison.summary(confidence)
    if not table["benchmarks"].any():
        raise BadArgument("No benchmark has results of all searches; there are no ranks to draw.")
    ax = new_axes(ax)
    places = np.arange(len(comparison.workers), dtype=float)
    for number, search in enumerate(comparison.searches):
        own = table[table["search"] == search]
        shift = 0.3 * ((number + 0.5) / len(comparison.searches) - 0.5)  # so that intervals do not cover each other
        rank, low, high = (own[name].to_numpy() for name in ("rank", "rank_low", "rank_high"))
        errors = [np.maximum(rank - low, 0.0), np.maximum(high - rank, 0.0)]
        ax.errorbar(places + shift, rank, errors, marker="o", markersize=4, capsize=2, **_look(number, search))
    ax.set_xticks(places, [str(one) for one in comparison.workers])
    ax.set_xlabel("virtual workers")
    ax.set_ylabel("average rank (1 is the best)")
    ax.invert_yaxis()
    tidy(ax)
    legend_above(ax)
    return ax


def plot_critical_difference(difference: CriticalDifference, ax: Axes | None = None) -> Axes:
    """Draw average ranks on a line; a bar joins searches that are not told apart.

    Args:
        difference: from `Comparison.critical_difference`.
        ax: where to draw; None for a new figure.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    count = len(difference.searches)
    half = (count + 1) // 2
    deep = 0.8 + 0.35 * len(difference.groups)
    ax = new_axes(ax, (7.0, 1.4 + 0.28 * (half + deep)))
    ax.set_axis_off()
    ax.set_xlim(0.8, count + 0.2)
    ax.set_ylim(-(half + deep), 2.2)
    ax.plot([1, count], [0, 0], color="black", linewidth=1.0)
    for tick in range(1, count + 1):
        ax.plot([tick, tick], [0, 0.25], color="black", linewidth=1.0)
        ax.text(tick, 0.35, str(tick), ha="center", va="bottom", fontsize="small")
    end = min(1 + difference.distance, count + 0.2)
    ax.plot([1, end], [1.6, 1.6], color=COLOURS[0], linewidth=1.5, marker="|")
    ax.text(1, 1.75, f"critical difference {difference.distance:.3g}", va="bottom", fontsize="small", color=COLOURS[0])
    names = named_ticks(difference.searches)
    for place, (name, rank) in enumerate(zip(names, difference.ranks, strict=True)):
        left = place < half
        level = -deep - (place if left else count - 1 - place)
        side = 0.8 if left else count + 0.2
        ax.plot([rank, rank, side], [0, level, level], color="black", linewidth=0.8)
        label = f"{name}  {rank:.2f} " if left else f" {rank:.2f}  {name}"
        align = "right" if left else "left"
        ax.text(side, level, label, ha=align, va="center", fontsize="small", parse_math=False)
    for number, (first, last) in enumerate(difference.groups):
        below = -0.4 - 0.35 * number
        ends = [difference.ranks[first] - 0.03, difference.ranks[last] + 0.03]
        ax.plot(ends, [below, below], color=COLOURS[1], linewidth=4, solid_capstyle="butt")
    ax.set_title(
        f"{difference.num_blocks} blocks, level {difference.alpha:g}, Friedman p = {difference.p_value:.2g}",
        loc="left", fontsize="medium",
    )  # fmt: skip
    return ax


def plot_performance_profile(profile: PerformanceProfile, ax: Axes | None = None) -> Axes:
    """Draw for each search the share of problems that it solves within a factor of the smallest cost.

    At the left is how often it is the fastest, at the right how often it solves a problem at all.

    Args:
        profile: from `Comparison.performance_profile`.
        ax: where to draw; None for a new figure.

    Raises:
        MissingExtra: matplotlib is not installed.
        BadArgument: no search solves any problem.
    """
    finite = profile.ratios[np.isfinite(profile.ratios)]
    if not finite.size:
        raise BadArgument(
            f"No search solves any of the {profile.ratios.shape[1]} problems of the profile; there is nothing to draw. "
            "Give performance_profile a larger target."
        )
    ax = new_axes(ax)
    most = 1.1 * float(finite.max(initial=1.0))
    for number, search in enumerate(profile.searches):
        factors = np.unique(np.append(profile.ratios[number][np.isfinite(profile.ratios[number])], [1.0, most]))
        shares = [profile.share(search, float(factor)) for factor in factors]
        ax.step(factors, shares, where="post", **_look(number, search))
    ax.set_xscale("log")
    ax.set_xlim(1.0, max(most, 1.1))
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("factor of the smallest cost")
    ax.set_ylabel("share of problems solved")
    tidy(ax)
    legend_above(ax)
    return ax


def _look(number: int, search: str) -> dict[str, Any]:
    """Colour, style and label of the line of a search."""
    style = STYLES[number // len(COLOURS) % len(STYLES)]
    (label,) = named_ticks([search])
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": style,
        "linewidth": 1.6,
        "label": label.replace("$", r"\$"),
    }
