"""Ranks, critical differences and performance profiles: against scipy, against numbers of the papers, by hand."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalpool.benchmarks._compare._ranks import (
    NEMENYI,
    chi_squared_tail,
    critical_difference,
    mean_ranks,
    performance_profile,
    ranks_of,
)
from evalpool.errors import BadArgument


def scipy_stats() -> Any:
    """Its absence skips here, and fails in continuous integration."""
    if os.environ.get("CI"):
        import scipy.stats
    else:
        pytest.importorskip("scipy")
    import scipy.stats

    return scipy.stats


# The areas under the curve of four variants of C4.5 on 14 data sets: table 6 of Demšar (2006).
AUC = [
    (0.763, 0.768, 0.771, 0.798), (0.599, 0.591, 0.590, 0.569), (0.954, 0.971, 0.968, 0.967),
    (0.628, 0.661, 0.654, 0.657), (0.882, 0.888, 0.886, 0.898), (0.936, 0.931, 0.916, 0.931),
    (0.661, 0.668, 0.609, 0.685), (0.583, 0.583, 0.563, 0.625), (0.775, 0.838, 0.866, 0.875),
    (1.000, 1.000, 1.000, 1.000), (0.940, 0.962, 0.965, 0.962), (0.619, 0.666, 0.614, 0.669),
    (0.972, 0.981, 0.9751, 0.975), (0.957, 0.978, 0.946, 0.970),
]  # fmt: skip


def test_the_example_of_demsar_gives_his_numbers() -> None:
    found = critical_difference(["C4.5", "+m", "+cf", "+m+cf"], -np.array(AUC), alpha=0.10)
    assert found.searches == ("+m+cf", "+m", "+cf", "C4.5")
    assert [round(rank, 3) for rank in found.ranks] == [1.964, 2.000, 2.893, 3.143]
    # With the correction for ties; his 9.28 is without it.
    assert found.statistic == pytest.approx(scipy_stats().friedmanchisquare(*np.array(AUC).T).statistic)
    assert found.p_value == pytest.approx(scipy_stats().friedmanchisquare(*np.array(AUC).T).pvalue)
    assert found.distance == pytest.approx(1.12, abs=0.005)  # his critical difference at 0.1
    assert found.groups == ((0, 2), (2, 3))


def test_the_quantiles_are_those_of_the_studentised_range() -> None:
    ranges = scipy_stats().studentized_range
    for alpha, known in NEMENYI.items():
        for k in (2, 5, 10, 20):
            assert known[k - 2] == pytest.approx(ranges.ppf(1 - alpha, k, math.inf) / math.sqrt(2), abs=6e-4)


@pytest.mark.parametrize("freedom", range(1, 12))
@pytest.mark.parametrize("value", [0.0, 0.3, 4.0, 25.0])
def test_the_tail_of_chi_squared(value: float, freedom: int) -> None:
    assert chi_squared_tail(value, freedom) == pytest.approx(scipy_stats().chi2.sf(value, freedom), rel=1e-12)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_ranks_share_ties_and_add_up(costs: list[int]) -> None:
    ranks = ranks_of(np.array(costs, dtype=float)).tolist()
    assert sum(ranks) == len(costs) * (len(costs) + 1) / 2
    for cost, rank in zip(costs, ranks, strict=True):
        below, equal = sum(other < cost for other in costs), costs.count(cost)
        assert rank == below + (equal + 1) / 2


def test_searches_that_reach_the_same_with_other_seeds_share_their_rank() -> None:
    runs = [np.array([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]])] * 3  # 0.1 + 0.2 + 0.3 is above 0.3 + 0.2 + 0.1
    average, low, high = mean_ranks(runs)
    assert (average.tolist(), low.tolist(), high.tolist()) == ([1.5, 1.5], [1.0, 1.0], [2.0, 2.0])


def test_the_interval_of_a_rank_is_what_other_seeds_would_give() -> None:
    clear = np.array([[0.1, 0.9], [0.2, 0.8], [0.1, 0.7]])
    open_ = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.4]])
    average, low, high = mean_ranks([clear])
    assert average.tolist() == low.tolist() == high.tolist() == [1.0, 2.0]
    average, low, high = mean_ranks([clear, open_])
    assert average.tolist() == [1.0, 2.0]
    assert (low.tolist(), high.tolist()) == ([1.0, 1.5], [1.5, 2.0])
    assert [one.tolist() for one in mean_ranks([clear, open_])] == [average.tolist(), low.tolist(), high.tolist()]


@pytest.mark.parametrize(
    ("searches", "costs", "alpha", "message"),
    [
        (["a", "b"], np.zeros((1, 2)), 0.05, "at least 2 benchmarks .* there are 1"),
        (["a"], np.zeros((3, 1)), 0.05, "2 to 20 searches; there are 1"),
        (["a", "b"], np.zeros((3, 2)), 0.01, "alpha is 0.01; give 0.05 or 0.1"),
    ],
)
def test_a_critical_difference_says_what_it_needs(searches: Any, costs: Any, alpha: float, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        critical_difference(searches, costs, alpha)


def test_equal_searches_do_not_differ() -> None:
    found = critical_difference(["a", "b", "c"], np.ones((4, 3)))
    assert (found.ranks, found.statistic, found.p_value) == ((2.0, 2.0, 2.0), 0.0, 1.0)
    assert found.groups == ((0, 2),)


def test_a_performance_profile_by_hand() -> None:
    inf = math.inf
    profile = performance_profile(["a", "b"], [[10.0, 20.0], [30.0, 10.0], [5.0, inf], [inf, inf], [0.0, 1.0]])
    assert profile.ratios.tolist() == [[1.0, 3.0, 1.0, inf, 1.0], [2.0, 1.0, inf, inf, inf]]
    assert [profile.share("a", factor) for factor in (1.0, 2.9, 3.0, 1e9)] == [0.6, 0.6, 0.8, 0.8]
    assert [profile.share("b", factor) for factor in (1.0, 2.0, 1e9)] == [0.2, 0.4, 0.4]
    with pytest.raises(BadArgument, match="no search 'c'; there are a, b"):
        profile.share("c", 1.0)
