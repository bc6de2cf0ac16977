"""The objective of each evaluation and the best so far, over time or over the number of evaluations."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from evalpool.analysis._rows import Evaluations, ended, is_number, is_partial
from evalpool.analysis._style import COLOURS, FAILED, legend_above, new_axes, tidy, time_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from evalpool.analysis._rows import Source

__all__ = ["plot_objective_over_evaluations", "plot_objective_over_time"]

GAP = 0.16
"""The gap between the panels of several objectives, as a share of the whole height; less if they are many."""
MOST_PANELS = 12
"""The most objectives that are drawn."""


def plot_objective_over_time(source: Source, ax: Axes | None = None, *, minimize: bool | None = None) -> Axes:
    """Draw each evaluation when it ended, the best so far as a line, and the failures at the bottom.

    A job that a stopper ended early is a hollow point, and never the best. Several objectives have a panel each, one
    above the other: they are `child_axes` of the returned axes, which have the common axis of times. Cancelled jobs are
    left out.

    Args:
        source: a storage (its latest search; give ``storage.results(search_id)`` for another), an evaluator, jobs,
            records, what `simulate` returned, or the path of a CSV file written by evalpool.
        ax: where to draw; None for a new figure.
        minimize: whether smaller objectives are better; None: as recorded for the search of a storage or an evaluator,
            else False.

    Raises:
        MissingExtra: matplotlib is not installed.
        BadArgument: `source` is none of these.
    """
    evaluations = Evaluations.of(source, timed=True, minimize=minimize)
    times = [ended(row) for row in evaluations.rows]
    scale, unit = time_unit(max(times, default=0.0))
    return _draw(evaluations, [time / scale for time in times], f"time since the search's start [{unit}]", ax)


def plot_objective_over_evaluations(source: Source, ax: Axes | None = None, *, minimize: bool | None = None) -> Axes:
    """Draw the same as `plot_objective_over_time` over the number of evaluations that had ended.

    So searches on different machines can be compared. Failures count as evaluations. A table without times is taken in
    the order of its rows.
    """
    evaluations = Evaluations.of(source, minimize=minimize)
    numbers = [float(number) for number in range(1, len(evaluations.rows) + 1)]
    return _draw(evaluations, numbers, "evaluations, in the order in which they ended", ax)


def _draw(evaluations: Evaluations, places: list[float], label: str, ax: Axes | None) -> Axes:
    rows = evaluations.rows
    names = [name for name in evaluations.objectives if any(is_number(row.get(name)) for row in rows)]
    names = names[:MOST_PANELS] or evaluations.objectives[:1]
    ax = new_axes(ax, (7.0, max(4.0, 1.0 + 2.0 * len(names))))
    ax.set_xlabel(label)
    ax.set_xlim(0, max(places, default=1.0) * 1.02)
    tidy(ax)
    if len(names) < 2:
        ax.set_ylabel("objective")
        _panel(ax, evaluations, places, names[0] if names else "", COLOURS[0])
        legend_above(ax)
        return ax
    ax.spines["left"].set_visible(False)
    ax.set_yticks([])
    gap = min(GAP, 0.5 / len(names))
    height = (1 + gap) / len(names)
    for number, name in enumerate(names):
        panel = ax.inset_axes((0, 1 - (number + 1) * height + gap, 1, height - gap), sharex=ax)
        panel.set_ylabel(name)
        panel.tick_params(labelbottom=False, bottom=False)
        tidy(panel)
        _panel(panel, evaluations, places, name, COLOURS[number % len(COLOURS)])
        legend_above(panel)
    return ax


def _panel(ax: Axes, evaluations: Evaluations, places: list[float], name: str, colour: str) -> None:
    """One objective."""
    rows = evaluations.rows
    known = [(place, row) for place, row in zip(places, rows, strict=True) if is_number(row.get(name))]
    found = [(place, row[name]) for place, row in known if not is_partial(row)]
    partial = [(place, row[name]) for place, row in known if is_partial(row)]
    if found:
        done, values = [place for place, _ in found], [value for _, value in found]
        best = list(itertools.accumulate(values, min if evaluations.minimize else max))
        ax.scatter(done, values, s=18, color=colour, alpha=0.45, linewidths=0, label="evaluation")
        steps, heights = [*done, places[-1]], [*best, best[-1]]
        ax.step(steps, heights, where="post", color=colour, linewidth=1.8, label=f"best so far: {best[-1]:.4g}")
    if partial:
        ax.scatter(
            [place for place, _ in partial], [value for _, value in partial], s=18, facecolors="none",
            edgecolors=colour, alpha=0.6, linewidths=0.8, label=f"stopped early ({len(partial)})",
        )  # fmt: skip
    failures = [place for place, row in zip(places, rows, strict=True) if not is_number(row.get(name))]
    ax.margins(y=0.12)
    if failures:
        # At the bottom for any scale of the objectives: the height is a fraction of the axes.
        ax.plot(
            failures,
            [0.03] * len(failures),
            "x",
            color=FAILED,
            markersize=5,
            transform=ax.get_xaxis_transform(),
            clip_on=False,
            label=f"failure ({len(failures)})",
        )
