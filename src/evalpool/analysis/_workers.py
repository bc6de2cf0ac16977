"""What the workers did: a Gantt chart, and above it the share of busy workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalpool.analysis._rows import ended, has_ended, kind_of, natural, read_rows, worker_of
from evalpool.analysis._style import CANCELLED, COLOURS, FAILED, named_ticks, new_axes, tidy, time_unit
from evalpool.jobs._utilisation import Interval, busy_workers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from evalpool.analysis._rows import Source

__all__ = ["plot_worker_utilization"]

KINDS = {"done": COLOURS[0], "failed": FAILED, "cancelled": CANCELLED}
MAX_NAMES = 24
"""If there are more workers than this, their names are not shown."""
MAX_EDGES = 1000
"""If there are more bars than this, they have no white edges, which would hide them."""


def plot_worker_utilization(source: Source, ax: Axes | None = None) -> Axes:
    """Draw a bar for each job on its worker's line, and above them the share of the workers that were busy.

    The share refers to the workers that ran at least one job.

    Args:
        source: as for `plot_objective_over_time`.
        ax: where to draw the bars; the share is drawn in a strip above it. None for a new figure.

    Raises:
        MissingExtra: matplotlib is not installed.
        BadArgument: `source` is of a wrong kind.
    """
    rows = [row for row in read_rows(source) if has_ended(row) and row.get("m:timestamp_start") is not None]
    ax = new_axes(ax)
    scale, unit = time_unit(max(map(ended, rows), default=0.0))
    intervals: list[Interval] = []
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    counts = dict.fromkeys(KINDS, 0)
    for row in rows:
        worker, start, end = worker_of(row), row["m:timestamp_start"] / scale, ended(row) / scale
        kind = kind_of(row)
        counts[kind] += 1
        spans.setdefault((kind, worker), []).append((start, end - start))
        intervals.append(Interval(worker, start, end, str(row["job_id"]), kind == "failed"))
    workers = sorted({interval.worker for interval in intervals}, key=natural)
    lines = {worker: line for line, worker in enumerate(workers)}
    edge = 0.4 if len(intervals) < MAX_EDGES else 0.0
    named: set[str] = set()
    for kind, worker in sorted(spans, key=lambda span: list(KINDS).index(span[0])):
        label = "_nolegend_" if kind in named else f"{kind} ({counts[kind]})"
        named.add(kind)
        bars, place = spans[kind, worker], (lines[worker] - 0.4, 0.8)
        # The bar of a failure within milliseconds would have no width; an edge of its own colour keeps it visible.
        failed = kind == "failed"
        ax.broken_barh(
            bars, place, facecolors=KINDS[kind], edgecolors=FAILED if failed else "white",
            linewidth=0.8 if failed else edge, zorder=3 if failed else 2, label=label,
        )  # fmt: skip
    ax.set_ylim(max(len(workers), 1) - 0.5, -0.5)
    if len(workers) <= MAX_NAMES:
        ax.set_yticks(range(len(workers)), named_ticks(workers), parse_math=False)
    else:
        ax.set_ylabel(f"{len(workers)} workers")
        ax.set_yticks([])
    ax.set_xlabel(f"time since the search's start [{unit}]")
    ax.set_xlim(0, max(map(ended, rows), default=scale) / scale * 1.01)
    tidy(ax)
    if len(named) > 1:
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    _draw_share(ax, intervals)
    return ax


def _draw_share(ax: Axes, intervals: list[Interval]) -> None:
    busy = busy_workers(intervals)
    strip = ax.inset_axes((0, 1.03, 1, 0.22), sharex=ax)
    shares = [100 * share for share in busy.utilisation]
    strip.fill_between(busy.timestamp, shares, step="post", color=COLOURS[4], alpha=0.6, linewidth=0)
    strip.set_ylim(0, 105)
    strip.set_yticks([0, 100], ["0 %", "100 %"])
    strip.tick_params(labelbottom=False)
    strip.set_title(f"workers busy: {100 * busy.mean:.0f} % on average", loc="left", fontsize="medium")
    tidy(strip)
