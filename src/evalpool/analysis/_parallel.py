"""Parallel coordinates: a line per evaluation across its hyperparameters, coloured by the objective.

Sources: A. Inselberg, "The plane with parallel coordinates" (The Visual Computer 1, 1985).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool._text import printable
from evalpool.analysis._rows import Evaluations, is_number, is_partial, natural
from evalpool.analysis._style import CANCELLED, FAILED, named_ticks, new_axes
from evalpool.errors import BadArgument
from evalpool.tables._cells import cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from evalpool.analysis._rows import Row, Source

__all__ = ["plot_parallel_coordinates"]

COLOURS = "viridis_r"
"""The best lines are dark: yellow lines in front would be hard to see on white."""
UNSET = -0.1
"""The height of a missing value: an inactive hyperparameter, or the objective of a failure."""
LOGARITHMIC = 50.0
"""How many times its smallest value the largest must be for a logarithmic scale."""
MAX_CHOICES = 8
"""If an axis has more texts than this, only some of them are written beside it."""


class _Axis(NamedTuple):
    """One upright axis: heights between 0 and 1, and the texts beside it."""

    title: str
    height: Callable[[Any], float]
    ticks: list[tuple[float, str]]


def plot_parallel_coordinates(
    source: Source,
    ax: Axes | None = None,
    *,
    parameters: Sequence[str] | None = None,
    objective: int = 0,
    minimize: bool | None = None,
) -> Axes:
    """Draw a line per evaluation across its hyperparameters to its objective; the best are dark and in front.

    Hyperparameters that span orders of magnitude have a logarithmic scale. A line runs along the bottom where its
    evaluation has no value: at an inactive hyperparameter, and at the objective of a failure.

    Args:
        source: as for `plot_objective_over_time`.
        ax: where to draw; None for a new figure.
        parameters: which hyperparameters, from left to right; None for all that take more than one value, by name.
        objective: the number of the objective, if there are several.
        minimize: as for `plot_objective_over_time`.

    Raises:
        MissingExtra: matplotlib is not installed.
        BadArgument: `source` is of a wrong kind, or it has no such parameter or objective.
    """
    evaluations = Evaluations.of(source, minimize=minimize)
    rows = evaluations.rows
    known = sorted({name[2:] for row in rows for name in row if name.startswith("p:")}, key=natural)
    unknown = [name for name in parameters or () if name not in known]
    if unknown:
        raise BadArgument(f"parameters has {unknown[0]!r}; the search has {', '.join(known) or 'none'}.")
    if rows and not 0 <= objective < len(evaluations.objectives):
        raise BadArgument(f"objective is {objective!r}; the search has {', '.join(evaluations.objectives) or 'none'}.")
    column = evaluations.objectives[objective] if rows else "objective"
    chosen = list(parameters) if parameters is not None else [name for name in known if _varies(rows, f"p:{name}")]
    axes = [_axis(name, [row[f"p:{name}"] for row in rows if row.get(f"p:{name}") is not None]) for name in chosen]
    values = [row[column] for row in rows if is_number(row.get(column))]
    # Evaluations that were stopped early are drawn thin, because their objective is a partial one.
    axes.append(_number_axis(column, values, log=False))
    ax = new_axes(ax, (max(6.0, 1.4 * len(axes) + 1.5), 4.5))
    _draw_lines(ax, rows, axes, [*(f"p:{name}" for name in chosen), column], evaluations.minimize)
    _draw_axes(ax, axes, len(rows) - len(values), any(_lacks(rows, f"p:{name}") for name in chosen))
    if values:
        _draw_scale(ax, f"{column} ({evaluations.better})", values, _colours(evaluations.minimize))
    return ax


def _varies(rows: list[Row], name: str) -> bool:
    return len({cell(row.get(name)) for row in rows}) > 1


def _lacks(rows: list[Row], name: str) -> bool:
    return any(row.get(name) is None for row in rows)


def _draw_lines(ax: Axes, rows: list[Row], axes: list[_Axis], names: list[str], minimize: bool) -> None:
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    done, failed, partial = [], [], []
    for row in rows:
        values = [row.get(name) for name in names]
        # The objective is a text where the evaluation failed, and a text has no height there.
        last = values[-1] if is_number(values[-1]) else None
        heights = [UNSET if value is None else axis.height(value) for axis, value in zip(axes, values, strict=True)]
        line = list(enumerate(heights[:-1]))
        if last is None:
            failed.append([*line, (len(line), UNSET)])
        elif is_partial(row):
            partial.append([*line, (len(line), heights[-1])])
        else:
            done.append((heights[-1], [*line, (len(line), heights[-1])]))
    done.sort(key=lambda one: one[0], reverse=minimize)  # the best are drawn last, in front
    colours = colormaps[_colours(minimize)]([height for height, _ in done])
    # A few lines are all strong; of many, only the best by rank are, because objectives may crowd at one end.
    few = min(1.0, 40 / max(len(done), 1))
    strengths = [0.15 + 0.75 * max(few, (rank / len(done)) ** 6) for rank in range(1, len(done) + 1)]
    if done:
        ax.add_collection(LineCollection([line for _, line in done], colors=colours, alpha=strengths, linewidths=1.0))
    if partial:
        ax.add_collection(LineCollection(partial, colors=CANCELLED, alpha=0.55, linewidths=0.7, label="stopped early"))
    if failed:
        ax.add_collection(
            LineCollection(failed, colors=FAILED, alpha=0.55, linewidths=0.9, linestyles="dashed", zorder=1.5)
        )


def _draw_axes(ax: Axes, axes: list[_Axis], failures: int, unset: bool) -> None:
    for place, axis in enumerate(axes):
        last = place == len(axes) - 1
        ax.vlines(place, 0, 1, color="black", linewidth=0.9, zorder=4)
        for height, text in axis.ticks:
            ax.annotate(
                printable(text), (place, height), xytext=(4 if last else -4, 0), textcoords="offset points",
                parse_math=False,
                ha="left" if last else "right", va="center", fontsize="small", zorder=5,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
            )  # fmt: skip
    if failures:
        ax.annotate(
            f"failure ({failures})", (len(axes) - 1, UNSET), xytext=(4, 0), textcoords="offset points", va="center",
            fontsize="small", color=FAILED,
        )  # fmt: skip
    if unset:
        ax.annotate(
            "not set", (0, UNSET), xytext=(-4, 0), textcoords="offset points", va="center", ha="right", fontsize="small"
        )
    ax.set_xticks(range(len(axes)), named_ticks(axis.title for axis in axes), parse_math=False)
    ax.set_yticks([])
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.45, len(axes) - 0.5)
    ax.set_ylim(UNSET - 0.05 if failures or unset else -0.04, 1.05)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _colours(minimize: bool) -> str:
    return COLOURS.removesuffix("_r") if minimize else COLOURS


def _draw_scale(ax: Axes, label: str, values: list[float], colours: str) -> None:
    """Draw the scale of the colours beside the last axis."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    shown = ScalarMappable(Normalize(low, high if high > low else low + 1.0), colours)
    ax.figure.colorbar(shown, ax=ax, label=label, fraction=0.04, pad=0.06)


def _axis(title: str, values: list[Any]) -> _Axis:
    if values and all(is_number(value) and math.isfinite(value) for value in values):
        low, high = min(values), max(values)
        return _number_axis(title, values, log=low > 0 and high >= LOGARITHMIC * low and _bunches(values))
    texts = sorted({cell(value) for value in values}, key=natural)
    places = {text: (number + 0.5) / len(texts) for number, text in enumerate(texts)}
    each = -(-len(texts) // MAX_CHOICES) or 1
    ticks = [(place, _short(text)) for text, place in list(places.items())[::each]]
    return _Axis(title, lambda value: places[cell(value)], ticks)


def _bunches(values: list[float]) -> bool:
    """Whether the values crowd on a linear scale more than on a logarithmic one, judged by the place of their median.

    The extremes are not enough: the smallest of many uniform numbers between 0 and 1 is very small, too.
    """
    low, middle, high = min(values), statistics.median(values), max(values)
    linear = (middle - low) / (high - low)
    logarithmic = math.log(middle / low) / math.log(high / low)
    return abs(linear - 0.5) > abs(logarithmic - 0.5)


def _number_axis(title: str, values: Iterable[float], *, log: bool) -> _Axis:
    values = [value for value in values if math.isfinite(value)] or [0.0]  # the others have no height
    whole = all(isinstance(value, int) for value in values)
    scale: Callable[[float], float] = math.log10 if log else float
    low, high = scale(min(values)), scale(max(values))
    span = high - low or 1.0

    def height(value: Any) -> float:
        return (scale(value) - low) / span if is_number(value) and math.isfinite(value) else UNSET

    def text(value: float) -> str:
        if whole and abs(value) < 1e6:
            return f"{value:.0f}"
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.4g}"

    ends = [min(values), max(values)]
    between = _decades(low, high) if log else _round_numbers(low, high, whole)
    inner = [value for value in between if 0.07 < height(value) < 0.93]
    ticks = [(height(value), text(value)) for value in (*dict.fromkeys(ends), *inner)]
    return _Axis(title + (" (log)" if log else ""), height, ticks)


def _decades(low: float, high: float) -> list[float]:
    step = max(1, round((high - low) / 5))
    return [10.0**power for power in range(math.ceil(low), math.floor(high) + 1, step)]


def _round_numbers(low: float, high: float, whole: bool) -> list[float]:
    """A few round numbers between the two: multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return []
    rough = (high - low) / 6
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
    if whole:
        step = max(1.0, round(step))
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _short(text: str) -> str:
    return text if len(text) <= 14 else text[:13] + "…"
