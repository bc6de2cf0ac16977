"""`queued`, `distributed` and `simulated` hand in parts, so they stack in every order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, SerialEvaluator, ThreadPoolEvaluator, distributed, queued, simulated
from evalpool.callbacks import Callback
from evalpool.storage import SQLiteStorage

DECORATORS: dict[str, Callable[[type[Evaluator]], Any]] = {
    "queued": queued,
    "distributed": distributed("storage"),
    "simulated": simulated,
}
ORDERS = [
    order
    for count in (1, 2, 3)
    for order in itertools.permutations(DECORATORS, count)
    if "simulated" in order
]  # fmt: skip
OWN = {"__init__", "__doc__", "__module__", "_timeline", "_membership", "_resources"}
"""What a class of a decorator may name, though its base does: Python's own, and the part that it hands in."""


def run(job: Any, dequed: Any = None) -> dict[str, Any]:
    lent = {} if dequed is None else {"lent": dequed[0]}
    return {"objective": job["x"], "runtime": 1.0 + job["x"] % 3, "metadata": lent}


class Hears(Callback):
    """Keeps the order in which jobs are given back."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def on_done(self, job: Any) -> None:
        self.done.append(job.number)


def search(order: tuple[str, ...], path: Path, base: type[Evaluator]) -> tuple[list[int], str, list[Any]]:
    """What a search of an evaluator in these decorators gives back, in order; its digest; what was lent."""
    made: Any = base
    for name in order:
        made = DECORATORS[name](made)
    options: dict[str, Any] = {"num_workers": 2, "seed": 1}
    if "queued" in order:
        options["queue"] = ["a", "b"]
    hears = Hears()
    with SQLiteStorage(path / "search.db") as storage:
        if "distributed" in order:
            options["storage"] = storage
        with made(run, callbacks=[hears], **options) as evaluator:
            evaluator.submit([{"x": x} for x in range(6)])
            jobs = evaluator.gather("BATCH", 2)
            evaluator.submit([{"x": 6}])
            jobs += evaluator.gather("ALL")
            assert hears.done == [job.number for job in jobs]
            assert evaluator.num_workers == 2
            return [job.number for job in jobs], evaluator.trace_digest(), [job.metadata.get("lent") for job in jobs]


@pytest.mark.parametrize("base", [SerialEvaluator, ThreadPoolEvaluator])
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_every_order_of_decorators_gives_the_same_search(
    order: tuple[str, ...], base: type[Evaluator], tmp_path: Path
) -> None:
    numbers, digest, lent = search(order, tmp_path, base)
    expected, expected_digest, _ = search(("simulated",), tmp_path / "plain", SerialEvaluator)
    assert (numbers, digest) == (expected, expected_digest)
    if "queued" in order:
        assert set(lent) == {"a", "b"}


@pytest.fixture(autouse=True)
def a_directory_for_the_plain_one(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()


@pytest.mark.parametrize("order", list(itertools.permutations(["queued", "distributed"])), ids="-".join)
def test_in_real_time_too(order: tuple[str, ...], tmp_path: Path) -> None:
    made: Any = ThreadPoolEvaluator
    for name in order:
        made = DECORATORS[name](made)
    with SQLiteStorage(tmp_path / "search.db") as storage, made(run, storage=storage, queue=["a"]) as evaluator:
        evaluator.submit([{"x": x} for x in range(3)])
        assert [job.metadata["lent"] for job in evaluator.gather()] == ["a"] * 3
        assert (evaluator.rank, evaluator.size, evaluator.num_total_workers) == (0, 1, 1)


@pytest.mark.parametrize("decorator", [queued, distributed("storage"), distributed("mpi"), simulated])
@pytest.mark.parametrize("base", [SerialEvaluator, ThreadPoolEvaluator])
def test_a_decorator_overrides_nothing_of_an_evaluator(decorator: Any, base: type[Evaluator]) -> None:
    made = decorator(base)
    added = [each for each in made.__mro__ if each not in base.__mro__]
    assert made in added
    for each in added:
        names = {name for name in vars(each) if not name.startswith("__") or name == "__init__"}
        assert names & set(dir(base)) <= OWN
