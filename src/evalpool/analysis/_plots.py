"""Two plots of a search: its objective over time, and what its workers did.

Both take the jobs, their records, or a CSV file of `CSVLoggerCallback`, draw into the axes they are given or into a
new figure, and return the axes: labels, limits and colours are then the caller's to change.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from evalpool._tables import read_table, table_of
from evalpool.analysis._utilisation import Interval, busy_workers
from evalpool.errors import BadArgument, MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from evalpool.evaluator._job import Job
    from evalpool.models import JobRecord

    Source: TypeAlias = Iterable[Job[Any] | JobRecord] | str | os.PathLike[str]


__all__ = ["plot_objective_over_time", "plot_worker_utilization"]

# Okabe and Ito's palette, which people who see colours differently can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
KINDS = {"done": COLOURS[0], "failed": COLOURS[5], "cancelled": "#999999"}
MAX_NAMES = 24
"""More workers than this are not named one by one."""
MAX_EDGES = 1000
"""With more bars than this their white edges would hide them."""


def plot_objective_over_time(source: Source, ax: Axes | None = None) -> Axes:
    """Draw each evaluation when it ended, the best so far as a line, and the failures at the bottom.

    With several objectives each has its own colour and line. Cancelled jobs are left out.

    Args:
        source: jobs, records, or the path of a CSV file written by evalpool.
        ax: where to draw; None for a new figure.

    Raises:
        MissingExtra: matplotlib is not installed.
        BadArgument: `source` is none of these.
    """
    rows = [row for row in _rows(source) if row["job_status"] in ("DONE", "FAILED") and _has_ended(row)]
    ax = ax if ax is not None else _new_axes((7.0, 4.0))
    rows.sort(key=_ended)
    scale, unit = _time_unit(max(map(_ended, rows), default=0.0))
    names = sorted({name for row in rows for name in row if name.startswith("objective")}, key=_natural)
    for colour, name in zip(COLOURS * len(names), names, strict=False):
        done = [(_ended(row) / scale, row[name]) for row in rows if _is_number(row.get(name))]
        if not done:
            continue
        times, values = [time for time, _ in done], [value for _, value in done]
        best = list(itertools.accumulate(values, max))
        several = len(names) > 1
        ax.scatter(times, values, s=18, color=colour, alpha=0.45, linewidths=0, label=name if several else "evaluation")
        end = _ended(rows[-1]) / scale
        label = None if several else f"best so far: {best[-1]:.4g}"
        ax.step([*times, end], [*best, best[-1]], where="post", color=colour, linewidth=1.8, label=label)
    failures = [_ended(row) / scale for row in rows if not any(_is_number(row.get(name)) for name in names)]
    if failures:
        # At the bottom whatever the objectives' scale is: in fractions of the axes' height.
        ax.plot(
            failures,
            [0.03] * len(failures),
            "x",
            color=KINDS["failed"],
            transform=ax.get_xaxis_transform(),
            clip_on=False,
            label=f"failure ({len(failures)})",
        )
    ax.set_xlabel(f"time since the search's start [{unit}]")
    ax.set_ylabel("objective")
    ax.margins(y=0.12)
    ax.set_xlim(left=0)
    _tidy(ax)
    if rows:
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)  # above the points
    return ax


def plot_worker_utilization(source: Source, ax: Axes | None = None) -> Axes:
    """Draw a bar for each job on its worker's line, and above them the share of the workers that were busy.

    The share refers to the workers that ran at least one job.

    Args:
        source: jobs, records, or the path of a CSV file written by evalpool.
        ax: where to draw the bars; the share is drawn in a strip above it. None for a new figure.

    Raises:
        MissingExtra: matplotlib is not installed.
        BadArgument: `source` is none of these.
    """
    rows = [row for row in _rows(source) if _has_ended(row) and row.get("m:timestamp_start") is not None]
    ax = ax if ax is not None else _new_axes((7.0, 4.0))
    scale, unit = _time_unit(max(map(_ended, rows), default=0.0))
    intervals: list[Interval] = []
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        worker, start, end = str(row.get("m:worker", "?")), row["m:timestamp_start"] / scale, _ended(row) / scale
        kind = _kind(row)
        spans.setdefault((kind, worker), []).append((start, end - start))
        intervals.append(Interval(worker, start, end, str(row["job_id"]), kind == "failed"))
    workers = sorted({interval.worker for interval in intervals}, key=_natural)
    lines = {worker: line for line, worker in enumerate(workers)}
    edge = 0.4 if len(intervals) < MAX_EDGES else 0.0
    named: set[str] = set()
    for (kind, worker), bars in spans.items():
        label = "_nolegend_" if kind in named else kind
        named.add(kind)
        place = (lines[worker] - 0.4, 0.8)
        ax.broken_barh(bars, place, facecolors=KINDS[kind], edgecolors="white", linewidth=edge, label=label)
    ax.set_ylim(max(len(workers), 1) - 0.5, -0.5)
    if len(workers) <= MAX_NAMES:
        ax.set_yticks(range(len(workers)), workers)
    else:
        ax.set_ylabel(f"{len(workers)} workers")
    ax.set_xlabel(f"time since the search's start [{unit}]")
    ax.set_xlim(left=0)
    _tidy(ax)
    if len(named) > 1:
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
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
    _tidy(strip)


def _kind(row: dict[str, Any]) -> str:
    if row["job_status"] == "CANCELLED":
        return "cancelled"
    failed = row["job_status"] == "FAILED" or any(
        name.startswith("objective") and not _is_number(value) for name, value in row.items()
    )
    return "failed" if failed else "done"


def _rows(source: Source) -> list[dict[str, Any]]:
    if isinstance(source, (str, os.PathLike)):
        return read_table(source)
    try:
        return table_of(source)[1]
    except (TypeError, AttributeError):
        raise BadArgument(
            f"source is of type {type(source).__name__}; give a list of jobs or records, or the path of a CSV file."
        ) from None


def _has_ended(row: dict[str, Any]) -> bool:
    return row.get("m:timestamp_end") is not None  # a job cancelled before it ran has no end


def _ended(row: dict[str, Any]) -> float:
    """Seconds since the search's start."""
    return float(row["m:timestamp_end"])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _time_unit(longest: float) -> tuple[float, str]:
    """What a unit has of seconds, and its name, for an axis up to `longest` seconds."""
    for seconds, unit in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if longest >= 3 * seconds:
            return seconds, unit
    return 1.0, "s"


def _natural(name: str) -> list[Any]:
    """A key that puts worker-10 after worker-9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def _tidy(ax: Axes) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _new_axes(size: tuple[float, float]) -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtra('A plot needs matplotlib: pip install "evalpool[plot]".') from error
    _, ax = pyplot.subplots(figsize=size, layout="constrained")
    return ax
