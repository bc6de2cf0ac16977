"""The best value over time: against its definition, and how it is drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalpool.analysis import performance_over_time, plot_performance_over_time
from evalpool.errors import BadArgument

value = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([None, math.nan, "F_oom"]))
run = st.lists(st.tuples(st.integers(0, 64).map(lambda n: n / 4), value), min_size=1, max_size=12)


@pytest.mark.slow
@given(st.lists(run, min_size=1, max_size=4), st.booleans(), st.sampled_from(["linear", "log"]), st.integers(2, 9))
def test_each_point_is_the_best_of_what_ended_by_then(
    runs: list[list[tuple[float, Any]]], minimize: bool, grid: str, n_points: int
) -> None:
    succeeded = [isinstance(value, float) and not math.isnan(value) for run in runs for _, value in run]
    cumtimes, values = [[end for end, _ in run] for run in runs], [[value for _, value in run] for run in runs]
    settings: dict[str, Any] = {"grid": grid, "minimize": minimize, "n_points": n_points}
    if not any(succeeded) or (grid == "log" and not any(end > 0 for run in runs for end, _ in run)):
        with pytest.raises(BadArgument):
            performance_over_time(cumtimes, values, **settings)
        return
    curves = performance_over_time(cumtimes, values, **settings)
    assert curves.best.shape == (len(runs), n_points)
    assert np.all(np.diff(curves.time) >= 0)
    for curve, one in zip(curves.best, runs, strict=True):
        for time, best in zip(curves.time, curve, strict=True):
            known = [v for end, v in one if end <= time and isinstance(v, float) and not math.isnan(v)]
            if known:
                assert best == (min(known) if minimize else max(known))
            else:
                assert math.isnan(best)


def test_mean_error_and_quantiles_begin_where_all_runs_have_a_value() -> None:
    curves = performance_over_time([[1, 3], [2, 3], [3]], [[4.0, 1.0], [2.0, 2.0], [6.0]], n_points=3)
    assert curves.time.tolist() == [1.0, 2.0, 3.0]
    assert curves.num_runs.tolist() == [1, 2, 3]
    for found, last in (
        (curves.mean, 3.0),
        (curves.standard_error, np.std([1, 2, 6], ddof=1) / math.sqrt(3)),
        (curves.quantile(0.5), 2.0),
    ):
        assert np.isnan(found[:2]).all()
        assert found[2] == pytest.approx(last)


def test_one_run_may_be_given_bare_and_the_grid_chosen() -> None:
    curves = performance_over_time([1, 2], [5, 3], minimize=False, start=0, end=4, n_points=5)
    assert curves.best[0].tolist()[1:] == [5.0, 5.0, 5.0, 5.0]
    assert math.isnan(curves.best[0][0])


def test_a_logarithmic_grid_begins_above_zero() -> None:
    curves = performance_over_time([[0, 1, 100]], [[3, 2, 1]], grid="log", n_points=3)
    assert curves.time.tolist() == pytest.approx([1.0, 10.0, 100.0])
    assert curves.best.tolist() == [[2.0, 2.0, 1.0]]


@pytest.mark.parametrize(
    ("cumtimes", "values", "settings", "message"),
    [
        ([[1, 2]], [[1]], {}, "Run 0 has 2 cumtimes and 1 values"),
        ([[1]], [[1], [2]], {}, "cumtimes of 1 runs and values of 2"),
        ([], [], {}, "cumtimes of 0 runs"),
        ([[-1]], [[1]], {}, "not times"),
        ([[math.nan]], [[1]], {}, "not times"),
        ([[1]], [["F_oom"]], {}, "No evaluation of any run succeeded"),
        ([[1]], [[1]], {"grid": "square"}, "grid is 'square'"),
        ([[1]], [[1]], {"n_points": 1}, "n_points is 1"),
        ([[1]], [[1]], {"grid": "log", "start": 0}, "cannot begin at 0"),
        ([[1]], [[1]], {"start": 5}, r"from 5 to 1\.0"),
    ],
)
def test_what_is_no_run_is_an_error_with_the_values(
    cumtimes: Any, values: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadArgument, match=message):
        performance_over_time(cumtimes, values, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("band", ["standard_error", "quantiles", None])
def test_curves_are_drawn_with_their_bands_and_names(band: str | None) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    one = performance_over_time([[1, 20], [2, 30]], [[4, 2], [3, 1]], grid="log")
    ax = plot_performance_over_time({"random": one, "TPE": one}, band=band)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["random", "TPE"]
    assert ax.get_xscale() == "log"
    centre = one.quantile(0.5) if band == "quantiles" else one.mean
    assert np.array_equal(ax.lines[0].get_ydata(), centre, equal_nan=True)
    assert plot_performance_over_time(one, ax) is ax
    with pytest.raises(BadArgument, match="band is 'range'"):
        plot_performance_over_time(one, ax, band="range")
    with pytest.raises(BadArgument, match="curves is empty"):
        plot_performance_over_time({}, ax)
    pyplot.close("all")
