"""Plots for several objectives: the evaluations that no other dominates, and the growth of the dominated volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from evalpool.analysis._rows import Evaluations, ended, is_partial
from evalpool.analysis._style import COLOURS, FAILED, legend_above, new_axes, tidy, time_unit
from evalpool.errors import BadArgument
from evalpool.jobs._hypervolume import Array, Front, hypervolume, pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from evalpool.analysis._rows import Row, Source

__all__ = ["plot_hypervolume_over_time", "plot_pareto_front"]


def plot_pareto_front(
    source: Source,
    ax: Axes | None = None,
    *,
    objectives: tuple[int, int] = (0, 1),
    minimize: bool | None = None,
) -> Axes:
    """Draw two of the objectives against each other, and mark the evaluations that no other dominates.

    With two objectives a line bounds the dominated region. With more, the marked ones are those that no other
    dominates in all objectives.

    Args:
        source: as for `plot_objective_over_time`.
        ax: where to draw; None for a new figure.
        objectives: the numbers of the two objectives, the horizontal one first.
        minimize: as for `plot_objective_over_time`.

    Raises:
        MissingExtra: matplotlib is not installed.
        BadArgument: `source` is of a wrong kind, or its search has no such objectives.
    """
    evaluations = Evaluations.of(source, minimize=minimize)
    across, up = objectives
    names = _several(evaluations, max(across, up) + 1)
    ax = new_axes(ax, (7.0, 4.5))
    done = [row for row in evaluations.rows if evaluations.succeeded(row)]
    points = _points(evaluations, done, max(across, up) + 1)
    sign = -1.0 if evaluations.minimize else 1.0
    best = sign * pareto_front(sign * points)
    on_front = {tuple(point) for point in best.tolist()}
    dominated = points[[tuple(point) not in on_front for point in points.tolist()]]
    ax.scatter(
        dominated[:, across], dominated[:, up], s=18, color=COLOURS[0], alpha=0.45, linewidths=0,
        label=f"dominated ({len(dominated)})",
    )  # fmt: skip
    front = best[np.argsort(best[:, across])] if len(best) else best
    if len(names) == 2 and len(front):
        # A point dominates the region to its left and below it, so the bound falls at each point. If smaller is better,
        # the region is to its right and above it, and the bound continues at the point's own level.
        where: Literal["pre", "post"] = "post" if evaluations.minimize else "pre"
        ax.step(front[:, across], front[:, up], where=where, color=COLOURS[1], linewidth=1.5, zorder=3)
    if len(front):
        ax.scatter(
            front[:, across], front[:, up], s=36, marker="D", color=COLOURS[1], edgecolors="black", linewidths=0.6,
            zorder=4, label=f"not dominated ({len(front)})",
        )  # fmt: skip
    partial = sum(map(is_partial, evaluations.rows))
    failures = len(evaluations.rows) - len(done) - partial
    if failures:
        ax.plot([], [], "x", color=FAILED, label=f"failure ({failures}, not shown)")
    if partial:
        ax.plot([], [], "o", markerfacecolor="none", color=COLOURS[0], label=f"stopped early ({partial}, not shown)")
    ax.set_xlabel(f"objective_{across} ({evaluations.better})")
    ax.set_ylabel(f"objective_{up} ({evaluations.better})")
    tidy(ax)
    legend_above(ax, 3)
    return ax


def plot_hypervolume_over_time(
    source: Source,
    ax: Axes | None = None,
    *,
    reference: Sequence[float] | None = None,
    minimize: bool | None = None,
) -> Axes:
    """Draw the hypervolume of the results found until each moment, and the failures at the bottom.

    Computes a hypervolume for each evaluation that enters the front: this is slow with more than three objectives.

    Args:
        source: as for `plot_objective_over_time`.
        ax: where to draw; None for a new figure.
        reference: one number per objective, below which nothing counts; None for the worst values found. Give the
            same one to compare searches.
        minimize: as for `plot_objective_over_time`; if it is True, nothing above `reference` counts.

    Raises:
        MissingExtra: matplotlib is not installed.
        BadArgument: `source` is of a wrong kind, its search has one objective, or `reference` has a wrong length.
    """
    evaluations = Evaluations.of(source, timed=True, minimize=minimize)
    sign = -1.0 if evaluations.minimize else 1.0
    count = len(_several(evaluations, 2))
    done = [row for row in evaluations.rows if evaluations.succeeded(row)]
    points = _points(evaluations, done, 2)
    if reference is None:
        reference = (sign * (sign * points).min(axis=0)).tolist() if len(points) else [0.0] * count
    elif count and len(reference) != count:
        raise BadArgument(f"reference is {reference!r}; give {count} numbers, one per objective.")
    front, volume = Front(), 0.0
    times, volumes = [0.0], [0.0]
    scale, unit = time_unit(max(map(ended, evaluations.rows), default=0.0))
    for row, point in zip(done, points, strict=True):
        if front.add(sign * point):
            volume = hypervolume(front.points, [sign * value for value in reference])
        times.append(ended(row) / scale)
        volumes.append(volume)
    ax = new_axes(ax)
    if evaluations.rows:
        times.append(ended(evaluations.rows[-1]) / scale)
        volumes.append(volume)
        ax.step(times, volumes, where="post", color=COLOURS[0], linewidth=1.8, label=f"hypervolume: {volume:.4g}")
    failures = [ended(row) / scale for row in evaluations.rows if not (evaluations.succeeded(row) or is_partial(row))]
    if failures:
        ax.plot(
            failures, [0.03] * len(failures), "x", color=FAILED, markersize=5, clip_on=False,
            transform=ax.get_xaxis_transform(), label=f"failure ({len(failures)})",
        )  # fmt: skip
    ax.set_xlabel(f"time since the search's start [{unit}]")
    above = ", ".join(f"{value:.4g}" for value in reference)
    ax.set_ylabel(f"hypervolume {'below' if evaluations.minimize else 'above'} ({above})")
    ax.set_xlim(0, max(times) * 1.02 or 1.0)
    ax.margins(y=0.08)
    tidy(ax)
    legend_above(ax)
    return ax


def _several(evaluations: Evaluations, needed: int) -> list[str]:
    names = evaluations.objectives
    # A search with nothing but failures has one column of texts: it is drawn as empty.
    if len(names) < needed and any(map(evaluations.succeeded, evaluations.rows)):
        raise BadArgument(
            f"the search has {len(names)} objectives ({', '.join(names)}) and this plot needs {needed}; "
            "plot_objective_over_time shows one objective."
        )
    return names if len(names) >= needed else []


def _points(evaluations: Evaluations, rows: list[Row], at_least: int) -> Array:
    """Float array (n evaluations, n objectives); without rows it has at least `at_least` columns."""
    names = evaluations.objectives
    return np.array([[row[name] for name in names] for row in rows], dtype=float).reshape(-1, max(len(names), at_least))
