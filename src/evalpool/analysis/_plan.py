"""A plan as a picture: how busy the workers are, over their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalpool.analysis._style import CANCELLED, COLOURS, legend_above, new_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from evalpool.benchmarks import Plan

__all__ = ["plot_plan"]


def plot_plan(plan: Plan, ax: Axes | None = None) -> Axes:
    """Draw the utilisation that a `Plan` predicts over the number of workers, and the number of useful workers.

    Args:
        plan: what `evalpool.benchmarks.plan` returned.
        ax: where to draw; None for a new figure.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    ax = new_axes(ax)
    rows = sorted(plan.rows)
    counts = [row.workers for row in rows]
    ax.plot(counts, [100 * row.utilisation for row in rows], "o-", color=COLOURS[0], label="a proposal at a time")
    batches = [row for row in rows if row.batch_utilisation is not None]
    if batches:
        busy = [100 * (row.batch_utilisation or 0.0) for row in batches]
        ax.plot([row.workers for row in batches], busy, "s--", color=COLOURS[1], label="batches of the best size")
    ax.plot(counts, [100 * row.thinking for row in rows], "^:", color=COLOURS[3], label="the search thinks")
    if plan.useful_workers is not None:
        ax.axvline(plan.useful_workers, color=CANCELLED, linewidth=1.0, label=f"{plan.useful_workers:,} are of use")
    ax.set_xscale("log", base=2)
    ax.set_xticks(counts, [f"{count:,}" for count in counts])
    ax.minorticks_off()
    ax.set_ylim(0, 105)
    ax.set_xlabel("workers")
    ax.set_ylabel("share of the time [%]")
    legend_above(ax)
    tidy(ax)
    return ax
