"""The best value so far over time, for several runs of one search on a common grid of times.

Runs with different seeds complete evaluations at different times. On a grid, each run has one value per time, that
of its best completion until then, so that runs can be averaged and compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalpool._checks import check_number
from evalpool.analysis._rows import Evaluations, ended, is_partial, is_source
from evalpool.analysis._style import COLOURS, legend_above, new_axes, tidy, time_unit
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from evalpool.analysis._rows import Source

    Floats = NDArray[np.float64]

__all__ = ["PerformanceOverTime", "performance_of_searches", "performance_over_time", "plot_performance_over_time"]

GRIDS = ("linear", "log")
BANDS = ("standard_error", "quantiles")


@dataclasses.dataclass(frozen=True)
class PerformanceOverTime:
    """Curves on a common grid.

    Attributes:
        time: float array (n_points,), seconds, increasing.
        best: float array (n_runs, n_points): each run's best value among the evaluations that ended at or before each
            time; NaN before its first completion.
        log: whether the times are equally spaced in their logarithm.
    """

    time: Floats
    best: Floats
    log: bool

    @property
    def num_runs(self) -> Floats:
        """How many runs have a value, per time: float array (n_points,)."""
        return np.asarray(np.sum(~np.isnan(self.best), axis=0), dtype=float)

    @property
    def num_empty(self) -> int:
        """How many runs have no value at any time; mean, error and quantiles leave them out."""
        return len(self.best) - len(self._runs)

    @property
    def _runs(self) -> Floats:
        """The curves of the runs that have a value at some time."""
        runs: Floats = self.best[~np.all(np.isnan(self.best), axis=1)]
        return runs

    def _where_all_have(self, curve: Callable[[Floats], Floats]) -> Floats:
        """`curve` of the runs, at each time at which all have a value; NaN before.

        A mean over the runs that already have a value would get worse whenever a worse run has its first one.
        """
        runs = self._runs
        found = np.full(self.time.shape, np.nan)
        all_have = ~np.any(np.isnan(runs), axis=0) & (len(runs) > 0)
        found[all_have] = curve(runs[:, all_have])
        return found

    @property
    def mean(self) -> Floats:
        """The mean over the runs, per time: float array (n_points,); NaN until each run has a value."""
        return self._where_all_have(lambda runs: np.asarray(np.mean(runs, axis=0), dtype=float))

    @property
    def standard_error(self) -> Floats:
        """The standard error of the mean, per time: float array (n_points,); NaN like the mean, and with one run."""
        if len(self._runs) < 2:
            return np.full(self.time.shape, np.nan)
        return self._where_all_have(lambda runs: np.std(runs, axis=0, ddof=1) / np.sqrt(len(runs)))

    def quantile(self, q: float) -> Floats:
        """A quantile over the runs, per time; 0.5 is the median. NaN until each run has a value."""
        return self._where_all_have(lambda runs: np.asarray(np.quantile(runs, q, axis=0), dtype=float))


def performance_over_time(
    cumtimes: Sequence[Any],
    values: Sequence[Any],
    *,
    grid: str = "linear",
    n_points: int = 100,
    minimize: bool = True,
    start: float | None = None,
    end: float | None = None,
) -> PerformanceOverTime:
    """Put runs on a common grid of times.

    >>> curves = performance_over_time([[1, 2, 4], [2, 3]], [[9, 5, 7], [8, 4]], n_points=4)
    >>> curves.time.tolist()
    [1.0, 2.0, 3.0, 4.0]
    >>> curves.best.tolist()
    [[9.0, 5.0, 5.0, 5.0], [nan, 8.0, 4.0, 4.0]]
    >>> curves.mean.tolist()
    [nan, 6.5, 4.5, 4.5]

    Args:
        cumtimes: per run, the times at which evaluations ended, in any order; seconds. A single run need not be in a
            list. Runs may have different numbers of evaluations.
        values: per run, the results of the evaluations, in the same order. A failure (a text, None or NaN) is never the
            best.
        grid: ``"linear"`` or ``"log"``: how the times are spaced.
        n_points: how many times.
        minimize: whether smaller values are better.
        start, end: the ends of the grid; None for the first time at which any run has a value, and the last end of all.

    Returns:
        the curves, with mean, standard error and quantiles.

    Raises:
        BadArgument: lengths differ, times are invalid, nothing succeeded, or the grid is unknown or impossible.
    """
    if grid not in GRIDS:
        raise BadArgument(f"grid is {grid!r}; give one of {', '.join(map(repr, GRIDS))}.")
    n_points = check_number("n_points", n_points, 2)
    runs = _runs(cumtimes, values, minimize)
    ends = np.concatenate([times for times, _ in runs])
    firsts = np.concatenate([times[~np.isnan(best)][:1] for times, best in runs])
    if not firsts.size:
        raise BadArgument("No evaluation of any run succeeded; there is nothing to show.")
    first = float(firsts.min()) if start is None else start
    last = float(ends.max()) if end is None else end
    if grid == "log" and first <= 0:
        positive = ends[ends > 0]
        if start is not None or not positive.size:
            raise BadArgument(f"A logarithmic grid cannot begin at {first!r}; give start above 0, or grid='linear'.")
        first = float(positive.min())
    if not first <= last < np.inf:
        raise BadArgument(f"The grid would go from {first!r} to {last!r}; give start and end in order.")
    time = np.geomspace(first, last, n_points) if grid == "log" else np.linspace(first, last, n_points)
    time = np.clip(time, first, last)  # the spacing is rounded; what ends with the grid belongs to it
    time[0], time[-1] = first, last
    return PerformanceOverTime(time, np.stack([_on_grid(time, *run) for run in runs]), grid == "log")


def _runs(cumtimes: Any, values: Any, minimize: bool) -> list[tuple[Floats, Floats]]:
    """For each run, its ends in order, and the best value from each end on."""
    if len(cumtimes) and np.ndim(cumtimes[0]) == 0:
        cumtimes, values = [cumtimes], [values]
    if len(cumtimes) != len(values) or not len(cumtimes):
        raise BadArgument(f"There are cumtimes of {len(cumtimes)} runs and values of {len(values)}; give both of each.")
    runs = []
    for number, (times, given) in enumerate(zip(cumtimes, values, strict=True)):
        if len(times) != len(given):
            raise BadArgument(f"Run {number} has {len(times)} cumtimes and {len(given)} values; give both of each.")
        ends = np.asarray(times, dtype=float)
        if not np.all(np.isfinite(ends)) or np.any(ends < 0):
            raise BadArgument(f"Run {number} has cumtimes that are not times: {times!r}; give seconds of 0 or more.")
        order = np.argsort(ends, kind="stable")
        numbers = _numbers(given)[order]
        best = np.fmin.accumulate(numbers) if minimize else np.fmax.accumulate(numbers)
        runs.append((ends[order], best))
    return runs


def _numbers(values: Iterable[Any]) -> Floats:
    """The values as a float array; a failure, which is not a number, is NaN."""
    return np.array(
        [float(value) if not isinstance(value, (str, type(None))) else np.nan for value in values], dtype=float
    )


def _on_grid(time: Floats, ends: Floats, best: Floats) -> Floats:
    seen = np.searchsorted(ends, time, side="right")  # a job that ends at a time counts at that time
    curve: Floats = np.concatenate([[np.nan], best])[seen]
    return curve


def performance_of_searches(
    sources: Source | Iterable[Source],
    *,
    objective: int = 0,
    grid: str = "linear",
    n_points: int = 100,
    minimize: bool | None = None,
    start: float | None = None,
    end: float | None = None,
) -> PerformanceOverTime:
    """Put searches on a common grid of times, like `performance_over_time`.

    Args:
        sources: one per run, each as for `plot_objective_over_time`; the runs of one storage are
            ``[storage.results(search_id) for search_id in storage.load_all_search_ids()]``. A single run need not be in
            a list.
        objective: the number of the objective, if there are several.
        minimize: whether smaller values are better; None: as recorded for the search of a storage or an evaluator.

    Raises:
        BadArgument: a source is of a wrong kind or has no such objective, or nothing succeeded.
    """
    runs: list[Any] = [sources] if is_source(sources) else list(sources)  # type: ignore[arg-type]
    times, values = [], []
    directions: list[bool] = []
    for number, source in enumerate(runs):
        rows, names, smaller = Evaluations.of(source, timed=True, minimize=minimize)
        directions.append(smaller)
        if rows and not 0 <= objective < len(names):
            raise BadArgument(f"objective is {objective!r}; run {number} has {', '.join(names) or 'none'}.")
        times.append([ended(row) for row in rows])
        # A row without this column is a failure. A job that was stopped early has a partial objective, which does not
        # count either.
        values.append([None if is_partial(row) else row.get(names[objective]) for row in rows])
    if len(set(directions)) > 1:
        raise BadArgument("some of the searches are minimised and some are maximised; they have no common curve.")
    smaller = directions[0] if directions else False
    return performance_over_time(times, values, grid=grid, n_points=n_points, minimize=smaller, start=start, end=end)


def plot_performance_over_time(
    curves: PerformanceOverTime | Source | Iterable[Source] | Mapping[str, Any],
    ax: Axes | None = None,
    *,
    band: str | None = "standard_error",
    quantiles: tuple[float, float] = (0.25, 0.75),
) -> Axes:
    """Draw the curves of one search, or of several with their names.

    Each curve begins where all its runs have a value. Runs without any value are left out, and the legend counts them.

    Args:
        curves: from `performance_over_time` or `performance_of_searches`; or the sources of the latter themselves;
            or a dict with a name for each of several.
        ax: where to draw; None for a new figure.
        band: ``"standard_error"``: the mean, and one standard error on each side of it; ``"quantiles"``: the median,
            and the region between two quantiles; None: the mean alone.
        quantiles: the two quantiles for that band.

    Raises:
        MissingExtra: matplotlib is not installed.
        BadArgument: `band` is unknown.
    """
    if band is not None and band not in BANDS:
        raise BadArgument(f"band is {band!r}; give one of {', '.join(map(repr, BANDS))}, or None.")
    given: Mapping[str, Any] = curves if isinstance(curves, Mapping) else {"": curves}
    if not given:
        raise BadArgument("curves is empty; give at least one.")
    named = {
        name: curve if isinstance(curve, PerformanceOverTime) else performance_of_searches(curve)
        for name, curve in given.items()
    }
    ax = new_axes(ax)
    shown = {"quantiles": ", median and quantiles", "standard_error": ", mean and standard error", None: ", mean"}[band]
    scale, unit = time_unit(max(float(curve.time[-1]) for curve in named.values()))
    for number, (name, curve) in enumerate(named.items()):
        colour, times = COLOURS[number % len(COLOURS)], curve.time / scale
        if band == "quantiles":
            centre, low, high = curve.quantile(0.5), curve.quantile(quantiles[0]), curve.quantile(quantiles[1])
        else:
            centre = curve.mean
            error = curve.standard_error if band is not None else np.full(times.shape, np.nan)
            low, high = centre - error, centre + error
        left_out = [f"{curve.num_empty} without a result left out"] if curve.num_empty else []
        label = ", ".join([*filter(None, [name]), *left_out])
        ax.step(times, centre, where="post", color=colour, linewidth=1.8, label=label or "_nolegend_")
        ax.fill_between(times, low, high, step="post", color=colour, alpha=0.2, linewidth=0)
    if all(curve.log for curve in named.values()):
        ax.set_xscale("log")
    ax.set_xlabel(f"time [{unit}]")
    ax.set_ylabel("best so far" + ("" if max(curve.best.shape[0] for curve in named.values()) == 1 else shown))
    tidy(ax)
    legend_above(ax)
    return ax
