"""The hypervolume against counting unit cells, and the front against its definition."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.errors import BadArgument
from evalpool.jobs._hypervolume import Front, hypervolume, pareto_front


@st.composite
def points_of_one_size(draw: st.DrawFn) -> list[tuple[int, ...]]:
    objectives = draw(st.integers(1, 5))
    point = st.tuples(*[st.integers(-1, 4)] * objectives)
    return draw(st.lists(point, min_size=1, max_size=8))


def unit_cells(points: list[tuple[int, ...]], reference: int) -> int:
    """How many cells of the integer grid above the reference some point dominates."""
    top = max(map(max, points))
    cells = itertools.product(range(reference, top), repeat=len(points[0]))
    return sum(any(all(c < x for c, x in zip(cell, p, strict=True)) for p in points) for cell in cells)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(points_of_one_size(), st.integers(-1, 1))
def test_it_is_the_number_of_dominated_cells(points: list[tuple[int, ...]], reference: int) -> None:
    assert hypervolume(points, [reference] * len(points[0])) == unit_cells(points, reference)


@settings(deadline=None)
@given(points_of_one_size())
def test_the_front_is_what_no_other_point_dominates(points: list[tuple[int, ...]]) -> None:
    distinct = set(points)
    expected = {
        p for p in distinct if not any(q != p and all(a >= b for a, b in zip(q, p, strict=True)) for q in distinct)
    }
    front = [tuple(map(int, p)) for p in pareto_front(points).tolist()]
    assert set(front) == expected
    assert len(front) == len(expected)


@settings(deadline=None)
@given(points_of_one_size())
def test_a_growing_front_takes_a_point_if_and_only_if_the_hypervolume_grows(
    points: list[tuple[int, ...]],
) -> None:
    front, reference = Front(), [-2] * len(points[0])
    before = 0.0
    for i, point in enumerate(points):
        taken = front.add(point)
        after = hypervolume(points[: i + 1], reference)
        assert taken == (after > before)
        before = after


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([], (0, 0), 0.0),
        ([(1, 1)], (1, 1), 0.0),
        ([(3, 5)], (1, 1), 8.0),
        ([(1, 2, 3)], (0, 0, 0), 6.0),
        ([(1, 1, 1, 1), (2, 1, 1, 1)], (0, 0, 0, 0), 2.0),
    ],
)
def test_known_volumes(points: Any, reference: Any, volume: float) -> None:
    assert hypervolume(points, reference) == volume


def test_many_points_in_three_dimensions_agree_with_the_general_recursion() -> None:
    from evalpool.jobs._hypervolume import _wfg

    points = np.random.default_rng(0).random((40, 3))
    front = [tuple(p) for p in pareto_front(points).tolist()]
    # The recursion ends in the sweep for three objectives, so lift the points into four.
    lifted = [(*p, 1.0) for p in front]
    assert _wfg(lifted) == pytest.approx(hypervolume(points, (0, 0, 0)))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(BadArgument, match="give 2 numbers"):
        hypervolume([(1, 2)], (0, 0, 0))
    with pytest.raises(BadArgument, match="one row per point"):
        hypervolume([1, 2], (0,))
    front = Front()
    front.add((1, 2))
    with pytest.raises(BadArgument, match="3 objectives where there were 2"):
        front.add((1, 2, 3))
