"""The mean of several runs' best so far."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evalpool.analysis import performance_over_time


@given(
    st.lists(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=12), min_size=1, max_size=6),
    st.booleans(),
)
def test_the_mean_of_the_best_so_far_never_gets_worse(runs: list[list[float | None]], minimize: bool) -> None:
    times = [[float(number * (place + 1)) for number in range(len(run))] for place, run in enumerate(runs)]
    if all(value is None for run in runs for value in run):
        return
    curves = performance_over_time(times, runs, minimize=minimize, n_points=30)
    for curve in (curves.mean, curves.quantile(0.0), curves.quantile(1.0)):
        steps = np.diff(curve[~np.isnan(curve)])
        assert np.all(steps <= 0 if minimize else steps >= 0)
        assert not np.isnan(curve[-1])  # at the end of the grid each run that succeeded at all has a value
    assert curves.num_empty == sum(all(value is None for value in run) for run in runs)
