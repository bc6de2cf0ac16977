"""Spaces as plain dicts, and what random search draws from them."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from evalpool.backends import SerialEvaluator
from evalpool.errors import BadArgument
from evalpool.evaluator import RandomSearch, optimize
from evalpool.search._random_search import configuration_key

SPACE = {"x": (0.0, 1.0)}


def draw(space: dict[str, Any], n: int = 200, seed: int | None = 0) -> list[Any]:
    search = RandomSearch(space, seed=seed)
    return [search.ask() for _ in range(n)]


def test_whole_numbers_include_both_ends() -> None:
    values = [config["x"] for config in draw({"x": (1, 3)})]
    assert set(values) == {1, 2, 3}
    assert all(type(value) is int for value in values)


def test_floats_lie_between_the_bounds() -> None:
    values = [config["x"] for config in draw({"x": (1, 2.5)})]
    assert 1 <= min(values) < 1.2
    assert 2.3 < max(values) <= 2.5


def test_a_logarithmic_range_gives_each_decade_its_share() -> None:
    values = [config["x"] for config in draw({"x": (1e-4, 1.0, "log")}, 1000)]
    counts = Counter(int(np.floor(np.log10(value))) for value in values)
    assert set(counts) == {-4, -3, -2, -1}
    assert min(counts.values()) > 180


def test_a_logarithmic_range_of_whole_numbers_reaches_both_ends() -> None:
    values = [config["x"] for config in draw({"x": (1, 100, "log")}, 2000)]
    assert min(values) == 1
    assert max(values) == 100
    assert all(type(value) is int for value in values)


def test_choices_keep_their_type() -> None:
    choices = ["a", 1, None, True, [1, 2]]
    values = [config["x"] for config in draw({"x": choices})]
    assert all(any(value is choice for choice in choices) for value in values)
    assert {json.dumps(value) for value in values} == {json.dumps(choice) for choice in choices}


def test_a_function_draws_with_the_generator_of_the_search() -> None:
    space = {"x": lambda rng: rng.normal(), "y": (0, 10)}
    assert draw(space) == draw(space)


def test_the_same_seed_gives_the_same_proposals_and_another_does_not() -> None:
    assert draw(SPACE, seed=3) == draw(SPACE, seed=3)
    assert draw(SPACE, seed=3) != draw(SPACE, seed=4)
    assert draw(SPACE, seed=None) != draw(SPACE, seed=None)


def test_a_resumed_search_does_not_propose_again_what_is_known() -> None:
    everything = draw({"x": (0, 10**9)}, 10, seed=5)
    jobs = []
    with SerialEvaluator(lambda job: 1.0) as evaluator:
        evaluator.submit([everything[i] for i in (0, 1, 3)])
        jobs = evaluator.gather()
    resumed = RandomSearch({"x": (0, 10**9)}, seed=5)
    for job in jobs:
        resumed.tell(job)
    assert [resumed.ask() for _ in range(7)] == [everything[i] for i in (2, 4, 5, 6, 7, 8, 9)]


def test_a_search_that_repeats_itself_ends_all_the_same() -> None:
    with SerialEvaluator(lambda job: job["x"]) as evaluator:
        jobs = optimize(evaluator, RandomSearch({"x": [1]}, seed=0), max_evals=5)
    assert [job.objective for job in jobs] == [1] * 5


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "give a dict with a name"),
        ([("x", 1)], "give a dict with a name"),
        ({3: (0, 1)}, "names are text"),
        ({"x": []}, "empty list"),
        ({"x": 3}, r"space\['x'\] is 3"),
        ({"x": (1, 2, 3)}, "'log'"),
        ({"x": ("a", "b")}, "finite numbers"),
        ({"x": (0, float("inf"))}, "finite numbers"),
        ({"x": (False, True)}, "finite numbers"),
        ({"x": (2, 1)}, "must not be above"),
        ({"x": (0, 1, "log")}, "begin above 0"),
    ],
)
def test_a_space_that_is_none_is_refused(space: Any, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        RandomSearch(space)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": 1, "b": 0.5}, {"b": 0.5, "a": 1}, True),
        ({"a": np.float64(0.5), "b": np.int64(3)}, {"a": 0.5, "b": 3}, True),
        ({"a": math.nan}, {"a": float("nan")}, True),
        ({"a": (1, 2)}, {"a": [1, 2]}, True),
        ({"a": {"c": 1, "d": 2}}, {"a": {"d": 2, "c": 1}}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": None}, {}, False),
    ],
)
def test_configurations_are_equal_whatever_the_order_and_the_container(one: Any, other: Any, equal: bool) -> None:
    """What is told came through records, which keep numbers of numpy and tuples as JSON does."""
    assert (configuration_key(one) == configuration_key(other)) is equal
