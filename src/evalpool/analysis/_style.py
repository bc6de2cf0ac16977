"""The look of all plots: colours, units, the frame, and the legend above the axes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from evalpool._text import printable
from evalpool.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CANCELLED", "COLOURS", "FAILED", "legend_above", "named_ticks", "new_axes", "tidy", "time_unit"]

# The palette of Okabe and Ito, which colour-blind people can tell apart. Vermilion is only for failures.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
FAILED = "#D55E00"
CANCELLED = "#999999"

LONGEST_LABEL = 40
"""The most characters of a user's name that are shown."""


def new_axes(ax: Axes | None, size: tuple[float, float] = (7.0, 4.0)) -> Axes:
    """The axes that were given, or those of a new figure. Raises `MissingExtra` without matplotlib."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtra.of("A plot needs matplotlib", "plot") from error
    if ax is not None:
        return ax
    _, made = pyplot.subplots(figsize=size, layout="constrained")
    return made


def tidy(ax: Axes) -> None:
    """Remove the upper and right sides of the frame."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def named_ticks(names: Iterable[str]) -> list[str]:
    """Labels for names of users, as text that fonts can show. Use them with ``parse_math=False``: a $ is no formula."""
    return [printable(name, LONGEST_LABEL) for name in names]


def legend_above(ax: Axes, columns: int = 4) -> None:
    """Put the legend above the axes, where it covers no point."""
    if ax.get_legend_handles_labels()[1]:
        # Narrow, because in a figure of several plots a wide one would cover the neighbour.
        ax.legend(
            frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.1, borderpad=0.2,
            fontsize="small", handlelength=1.3, handletextpad=0.5, columnspacing=1.2,
        )  # fmt: skip


def time_unit(longest: float) -> tuple[float, str]:
    """The length of a unit in seconds, and its name, for an axis of up to `longest` seconds."""
    for seconds, unit in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if longest >= 3 * seconds:
            return seconds, unit
    return 1.0, "s"
