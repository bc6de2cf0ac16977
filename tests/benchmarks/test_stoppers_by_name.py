"""The stoppers that have a name decide by the order of a fidelity's levels, not by the unit that they are in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.benchmarks import Benchmark, Fidelity
from evalpool.benchmarks._stoppers import STOPPERS, make_stopper
from evalpool.search import HyperbandStopper, MedianStopper, SuccessiveHalvingStopper

UNITS = [0.1, 0.3, 1 / 27, 0.7, 1e-3, 7, 100 / 3]
DIRECT = {"median": MedianStopper, "halving": SuccessiveHalvingStopper, "hyperband": HyperbandStopper}

Curves = list[list[float]]


def named(name: str, fidelity: Fidelity) -> Any:
    benchmark = Benchmark("b", {"x": (0, 9)}, lambda job: 0.0, fidelity=fidelity, curve=lambda job: [])
    return make_stopper(name, "b", benchmark)


def ends(stopper: Any, levels: list[list[float]], curves: Curves) -> list[int]:
    """After how many points of its curve each job ends; one job after the other.

    Args:
        stopper: new.
        levels: how the levels are computed, in turn by the jobs.
        curves: the objectives of each job, one for each level.
    """
    found = []
    for number, objectives in enumerate(curves):
        job = stopper.for_job(number)
        points = 0
        for budget, objective in zip(levels[number % len(levels)], objectives, strict=True):
            job.observe(budget, objective)
            points += 1
            if job.stop():
                break
        assert job.is_complete == (points == len(objectives))
        found.append(points)
    return found


@st.composite
def leveled_curves(draw: st.DrawFn) -> tuple[list[int], Curves]:
    powers = st.sampled_from([[1, 3, 9, 27], [3, 9, 27], [1, 3, 9, 27, 81], [1, 2, 4, 8, 16], list(range(1, 11))])
    others = st.lists(st.integers(1, 100), min_size=2, max_size=8, unique=True).map(sorted)
    levels = draw(st.one_of(powers, others))
    objective = st.integers(0, 9).map(float)
    return levels, draw(st.lists(st.lists(objective, min_size=len(levels), max_size=len(levels)), max_size=12))


@pytest.mark.slow
@pytest.mark.parametrize("name", STOPPERS)
@settings(deadline=None, max_examples=40)
@given(leveled_curves(), st.sampled_from(UNITS))
def test_a_named_stopper_decides_the_same_whatever_the_unit_of_the_fidelity(
    name: str, given: tuple[list[int], Curves], unit: float
) -> None:
    levels, curves = given
    expected = ends(DIRECT[name](levels[-1], levels[0]), [levels], curves)
    assert ends(named(name, Fidelity("f", levels[0], levels[-1], levels=tuple(levels))), [levels], curves) == expected
    products = [level * unit for level in levels]
    decimals = [float(f"{product:.12g}") for product in products]  # as somebody writes them
    for known in (products, decimals):
        for exact in (tuple(known), None):
            fidelity = Fidelity("f", known[0], known[-1], integer=False, levels=exact)
            assert ends(named(name, fidelity), [products, decimals], curves) == expected


@pytest.mark.parametrize(
    ("name", "levels", "first", "second", "expected"),
    [
        # The median rule: the best of the second against the mean of the first until then.
        ("median", [0.3, 0.9, 2.7], [1.0, 5.0, 5.0], [2.0, 2.0, 2.0], 2),
        ("median", [0.1, 0.2, 0.4, 0.8, 1.0], [1.0, 1.0, 1.0, 9.0, 9.0], [2.0] * 5, 4),
        ("halving", [0.1, 0.3, 0.9, 2.7], [5.0] * 4, [9.0, 0.0, 0.0, 0.0], 2),
        ("halving", [0.1, 0.3, 0.9, 2.7], [5.0] * 4, [9.0, 9.0, 0.0, 0.0], 3),
    ],
)
def test_jobs_are_compared_at_each_level_of_fractions(
    name: str, levels: list[float], first: list[float], second: list[float], expected: int
) -> None:
    stopper = named(name, Fidelity("f", levels[0], levels[-1], levels=tuple(levels)))
    assert ends(stopper, [levels], [first, second]) == [len(levels), expected]
