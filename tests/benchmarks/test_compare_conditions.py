"""Comparisons whose virtual workers fail, and whose evaluations a stopper ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalpool import RandomSearch, simulate
from evalpool.analysis import write_comparison_page
from evalpool.benchmarks import Benchmark, Fidelity, compare, load
from evalpool.benchmarks._compare._cells import seed_from
from evalpool.errors import BadArgument
from evalpool.search import MedianStopper, SuccessiveHalvingStopper
from evalpool.search._stoppers import Stopper
from evalpool.simulation import Distribution, WorkerModel
from evalpool.storage import SQLiteStorage
from proposals import Listed

CALLS: list[int] = []
SPOT = WorkerModel(
    start_delay=0.2, crash=0.2, preempted_after=Distribution.exponential(2.0, seed=3), away=Distribution.constant(0.5)
)


def train(job: Any) -> dict[str, float]:
    CALLS.append(job["x"])
    return {"loss": float(job["x"]), "seconds": float(job["epochs"])}


def curve(job: Any) -> list[tuple[int, float, float]]:
    """A loss of half the last one after the first of two epochs: a partial result would be the best."""
    return [(1, job["x"] / 2, 1.0), (2, float(job["x"]), 2.0)]


def bench(**more: Any) -> Benchmark:
    space, fidelity = {"x": (0, 9)}, Fidelity("epochs", 1, 2)
    settings = {"objectives": "loss", "maximize": False, "runtime": "seconds", "fidelity": fidelity, **more}
    return Benchmark("line", space, train, **settings)


def make_downward(benchmark: Benchmark, seed: int) -> Listed:
    return Listed([8, 6, 4, 2])


class Odd(Stopper):
    """Ends each second of its jobs at the first point."""

    def __init__(self) -> None:
        self.jobs = 0
        self.ends = False

    def for_job(self, number: int, configuration: Any = None) -> Odd:
        own = Odd()
        own.ends = bool(self.jobs % 2)
        self.jobs += 1
        return own

    def observe(self, budget: float, objective: Any) -> None:
        self.objective = objective

    def stop(self) -> bool:
        return self.ends


def odd(benchmark: Benchmark) -> Odd:
    return Odd()


def test_workers_that_start_late_delay_a_cell() -> None:
    late = WorkerModel(start_delay=10.0)
    found = compare({"down": make_downward}, bench(), workers=1, seeds=1, budget=3, worker_model=late)
    (row,) = found.rows()
    assert found.trajectory(found.cells[0])["time"] == [12.0, 14.0, 16.0]
    assert (row["makespan"], row["utilisation"]) == (16.0, 6.0 / 16.0)
    assert (row["failures"], row["retried"], row["stopped_early"]) == (0, 0, 0)


def test_evaluations_whose_workers_crash_are_retried_and_counted() -> None:
    always = WorkerModel(crash=1.0)
    settings: dict[str, Any] = {"workers": 1, "seeds": 1, "budget": 3, "worker_model": always}
    for retries in (0, 2):
        found = compare({"down": make_downward}, bench(), retries=retries, **settings)
        (row,) = found.rows()
        assert (row["evaluations"], row["failures"], row["retried"]) == (3, 3, 3 * retries)
        assert row["first_failure"] == "F_worker_died"
        assert list(found.errors.values()) == [row["error"]]
        assert row["error"].startswith("all 3 evaluations failed, first: ")


def test_evaluations_that_a_stopper_ends_free_their_workers_and_are_never_the_best() -> None:
    # |8: 2 epochs|6: 1|4: 2 epochs|2: 1|
    found = compare({"down": make_downward}, bench(curve=curve), workers=1, seeds=2, budget=4, stopper=odd)
    for cell, row in zip(found.cells, found.rows(), strict=True):  # a new stopper: the second cell begins alike
        assert found.trajectory(cell)["time"] == [2.0, 5.0]
        assert found.trajectory(cell)["best"] == [-8.0, -4.0]
        assert (row["makespan"], row["evaluations"], row["stopped_early"]) == (6.0, 4, 2)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("halving", lambda benchmark: SuccessiveHalvingStopper(27, 1)),
        ("median", lambda benchmark: MedianStopper(27, 1)),
    ],
)
def test_a_name_is_the_stopper_of_simulate_from_the_lowest_fidelity_to_the_highest(
    name: str, make: Callable[[Any], Any]
) -> None:
    settings: dict[str, Any] = {"workers": 4, "seeds": 1, "budget": 30}
    benchmark = load("digits", curve=True)
    one = compare(["random"], {"digits": "digits?curve=True"}, stopper=name, **settings)
    other = compare(["random"], {"digits": benchmark}, stopper=make, **settings)
    assert one.digest(one.cells[0]) == other.digest(one.cells[0])
    run = simulate(
        RandomSearch(benchmark, seed_from("search", "random", "digits", 0)), benchmark, num_workers=4, max_evals=30,
        seed=seed_from("jobs", "digits", 0), stopper=make(benchmark),
    )  # fmt: skip
    (row,) = one.rows()
    assert row["makespan"] == run.makespan
    assert row["stopped_early"] > 10


@pytest.mark.slow
def test_failing_workers_and_stoppers_give_the_same_digest_on_every_backend() -> None:
    settings: dict[str, Any] = {
        "workers": [2, 8], "seeds": 2, "budget": 30, "worker_model": SPOT, "retries": 1, "stopper": "halving"
    }  # fmt: skip
    digests = []
    for evaluator, count in (("serial", None), ("thread", 3), ("process", 2)):
        found = compare(["random"], ["digits?curve=True"], evaluator=evaluator, num_workers=count, **settings)
        assert not found.errors
        assert min(row["stopped_early"] for row in found.rows()) > 0
        assert sum(row["retried"] for row in found.rows()) > 0
        digests.append([found.digest(cell) for cell in found.cells])
    assert digests[0] == digests[1] == digests[2]


def test_a_stored_comparison_refuses_other_workers_retries_and_stoppers(tmp_path: Path) -> None:
    problem = bench(curve=curve)
    settings: dict[str, Any] = {"workers": 2, "seeds": 1, "budget": 4}
    first: dict[str, Any] = {"worker_model": WorkerModel(crash=0.1), "retries": 1, "stopper": odd}
    with SQLiteStorage(tmp_path / "comparison.db") as storage:

        def run(**conditions: Any) -> Any:
            return compare({"down": make_downward}, problem, storage=storage, **settings, **conditions)

        found = run(**first)
        CALLS.clear()
        again = run(**{**first, "worker_model": WorkerModel(crash=0.1)})
        assert not CALLS
        assert again.rows() == found.rows()
        for change, message in (
            ({"worker_model": None}, r"worker_model is None, and was WorkerModel\(crash=0.1\) in the comparison"),
            ({"worker_model": WorkerModel(crash=0.2)}, r"worker_model is WorkerModel\(crash=0.2\), and was"),
            ({"retries": 0}, r"retries is 0, and was 1 in the comparison of the storage \(search 0\)"),
            ({"stopper": "halving"}, r"stopper is halving, and was .*test_compare_conditions\.odd"),
        ):
            with pytest.raises(BadArgument, match=message):
                run(**{**first, **change})
        assert not CALLS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stopper": "medain"}, "no stopper 'medain'; known are median, halving, hyperband; or path"),
        ({"stopper": "nowhere.py:make"}, r"nowhere\.py"),
        ({"stopper": Odd()}, "stopper is .*Odd.* give one of 'median', .*each search needs a new one"),
        ({"stopper": 3}, "stopper is 3 of type int"),
        ({"stopper": "median", "benchmarks": ["digits"]}, "'digits' has no learning curves"),
        ({"stopper": odd, "benchmarks": {"mine": bench()}}, "'mine' has no learning curves"),
        ({"worker_model": {"crash": 0.1}}, "worker_model is .*'crash': 0.1.* of type dict"),
        ({"retries": -1}, "retries is -1"),
        ({"retries": 1.5}, "retries is 1.5"),
    ],
)
def test_wrong_conditions_are_told_before_anything_runs(arguments: Any, message: str) -> None:
    given = {"benchmarks": ["digits?curve=True"], "workers": [1], "seeds": 1, "budget": 3, **arguments}
    with pytest.raises(BadArgument, match=message):
        compare(["random"], **given)


def test_a_function_that_returns_no_stopper_fails_its_cell() -> None:
    found = compare(
        ["random"], {"digits": "digits?curve=True"}, workers=[1], seeds=1, budget=3, stopper=lambda benchmark: Odd
    )
    assert "which has no observe and stop" in next(iter(found.errors.values()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")  # matplotlib's, with numpy of 3.10
def test_the_page_says_what_happened_to_workers_and_evaluations(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    model = WorkerModel(start_delay=2.0, crash=0.1)
    found = compare(
        {"down": make_downward}, bench(curve=curve), workers=1, seeds=1, budget=3, worker_model=model, retries=2,
        stopper=odd,
    )  # fmt: skip
    text = write_comparison_page(found, tmp_path / "page.html").read_text("utf-8")
    said = f"In each cell, worker model: {model!r}; retries: 2; stopper: {__name__}.odd."
    assert f"<p>{said}</p>" in text
    plain = compare({"down": make_downward}, bench(), workers=1, seeds=1, budget=3)
    assert "In each cell" not in write_comparison_page(plain, tmp_path / "page.html").read_text("utf-8")
