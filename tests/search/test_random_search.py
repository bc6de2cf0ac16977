"""Spaces as plain dicts, and what random search draws from them."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalpool import simulate
from evalpool.backends import SerialEvaluator
from evalpool.errors import BadArgument
from evalpool.evaluator import RandomSearch, optimize
from evalpool.search._random_search import configuration_key, read_space

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
        ({"x": (0, 10**400)}, "finite numbers"),
        ({"x": (-1e308, 1e308)}, "wider than the largest float"),
        ({"x": (2, 1)}, "must not be above"),
        ({"x": (0, 1, "log")}, "begin above 0"),
    ],
)
def test_a_space_that_is_none_is_refused(space: Any, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        RandomSearch(space)


@pytest.mark.parametrize(("low", "high"), [(0, 2**64 - 1), (-(2**63) - 1, 5), (0, 10**300), (2**70, 2**70 + 2)])
def test_whole_numbers_beyond_64_bits_are_drawn_uniformly(low: int, high: int) -> None:
    search, again = (RandomSearch({"x": (low, high), "y": (0.0, 1.0)}, seed=3) for _ in range(2))
    drawn = [search.ask()["x"] for _ in range(400)]
    assert drawn == [again.ask()["x"] for _ in range(400)]
    assert all(type(x) is int and low <= x <= high for x in drawn)
    thirds = [sum(low + (high + 1 - low) * third // 3 <= x for x in drawn) for third in range(3)]
    assert thirds[0] == 400
    assert 200 < thirds[1] < 333
    assert 80 < thirds[2] < 190


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


BOUNDS = st.integers(-(2**70), 2**70) | st.integers(-5, 300)
WHOLE = st.tuples(BOUNDS, BOUNDS).map(lambda pair: (min(pair), max(pair)))
FLOATS = st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)).map(lambda pair: (min(pair), max(pair)))
LOGARITHMIC = st.tuples(st.floats(1e-6, 1.0), st.floats(2.0, 1e6)).map(lambda pair: (*pair, "log"))
DIMENSIONS = (st.lists(st.integers(), min_size=1, max_size=20), WHOLE, FLOATS, LOGARITHMIC)


@given(
    space=st.one_of(*(st.lists(one, min_size=1, max_size=4) for one in (*DIMENSIONS, st.one_of(*DIMENSIONS)))),
    seed=st.integers(0, 2**40),
)
def test_blocks_have_the_numbers_of_single_calls(space: list[Any], seed: int) -> None:
    dimensions = {str(number): one for number, one in enumerate(space)}
    rng = np.random.default_rng(seed)
    try:
        single = [{name: one.draw(rng) for name, one in read_space(dimensions).items()} for _ in range(12)]
    except ValueError:  # whole numbers that numpy does not draw
        with pytest.raises(ValueError, match="out of bounds"):
            RandomSearch(dimensions, seed).ask()
        return
    search = RandomSearch(dimensions, seed)
    asked = [search.ask() for _ in range(12)]
    assert asked == single
    assert [[type(value) for value in one.values()] for one in asked] == [
        [type(value) for value in one.values()] for one in single
    ]


class ByKeys:
    """What a search proposes, with every proposal known by its key at once."""

    def __init__(self, space: dict[str, Any]) -> None:
        self.search = RandomSearch(space, seed=0)
        self.out: Counter[Any] = Counter()
        self.known: Counter[Any] = Counter()

    def ask(self) -> dict[str, Any]:
        while True:
            key = configuration_key(configuration := self.search.ask())
            if not self.known[key]:
                self.out[key] += 1
                return configuration
            self.known[key] -= 1

    def tell(self, configuration: dict[str, Any]) -> None:
        key = configuration_key(configuration)
        (self.out if self.out[key] else self.known)[key] += -1 if self.out[key] else 1


class Told:
    def __init__(self, args: dict[str, Any]) -> None:
        self.args = args


@given(
    steps=st.lists(st.sampled_from(["ask", "own", "copy", "unknown", "pickle"]), max_size=40),
    most=st.sampled_from([2, 1000]),
    choices=st.integers(1, 6),
)
def test_proposals_are_known_by_identity_as_by_key(steps: list[str], most: int, choices: int) -> None:
    space = {"x": (1, choices), "y": ["a", "b"]}
    search, expected = RandomSearch(space, seed=0), ByKeys(space)
    asked: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evalpool.search._random_search.MOST_ASKED", most)
        for number, step in enumerate(steps):
            if step == "ask":
                asked.append(search.ask())
                assert asked[-1] == expected.ask()
            elif step == "pickle":
                search = pickle.loads(pickle.dumps(search))
            else:
                known = asked[number % len(asked)] if asked and step != "unknown" else {"x": 1, "y": "b"}
                expected.tell(known)
                search.tell(Told(known if step == "own" else dict(known)))  # type: ignore[arg-type]
        assert [search.ask() for _ in range(10)] == [expected.ask() for _ in range(10)]


def run(job: Any) -> dict[str, Any]:
    return {"objective": "F_three" if job["x"] == 3 else job["x"], "runtime": 1.0 + job["x"]}


def test_a_subclass_that_learns_is_told_jobs_in_simulated_time() -> None:
    class Learns(RandomSearch):
        def tell(self, job: Any) -> None:
            told.append((job.args["x"], job.objective))
            super().tell(job)

    told: list[Any] = []
    for makes, budget in ((RandomSearch, {"max_evals": 30}), (Learns, {"max_evals": 30}), (Learns, {"max_time": 40.0})):
        search = makes({"x": (1, 6)}, seed=1)
        result = simulate(search, run, num_workers=4, seed=0, **budget)  # type: ignore[arg-type]
        again = simulate(RandomSearch({"x": (1, 6)}, seed=1), run, num_workers=4, seed=0, evaluator="serial", **budget)  # type: ignore[call-overload]
        assert result.trace_digest() == again.trace_digest()
        assert result.objectives == again.objectives
        if makes is Learns:
            numbers = [result.configurations[row["job"]]["x"] for row in result.completions]
            assert told == list(zip(numbers, result.objectives, strict=True))
            told.clear()
        else:
            # Only those that were not told are still out, so that one more result of another means one proposal less.
            search._use_keys()
            assert search._out.total() == len(result.not_reported)
            assert not search._known
