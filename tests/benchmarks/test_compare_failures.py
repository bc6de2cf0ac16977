"""Cells of a comparison without a result: they are reported, and they are no result of a search."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from evalpool import RandomSearch
from evalpool.analysis import write_comparison_page
from evalpool.benchmarks import Benchmark, Cell, compare
from evalpool.errors import BadArgument
from evalpool.storage import MemoryStorage
from proposals import Listed

FAILED = "all 3 evaluations failed, first: evalpool.errors.BadArgument: run of the benchmark 'broken' returned 'loss'"


def parabola(job: Any) -> dict[str, float]:
    return {"loss": float((job["x"] - 3) ** 2), "seconds": 1.0 + job["x"]}


def bench(name: str, run: Any = parabola, objective: str = "loss") -> Benchmark:
    return Benchmark(name, {"x": (0, 9)}, run, objectives=objective, maximize=False, runtime="seconds")


def upward(benchmark: Benchmark, seed: int) -> Listed:
    return Listed([0, 1, 2, 3])


def downward(benchmark: Benchmark, seed: int) -> Listed:
    return Listed([9, 8, 7, 6])


BOTH = {"up": upward, "down": downward}


def without_a_result(job: Any) -> Any:
    raise MemoryError("too large")


@pytest.mark.parametrize("conditions", [{}, {"retries": 1}])
def test_cells_whose_evaluations_all_failed_are_errors_and_no_ranks(conditions: dict[str, Any]) -> None:
    benchmarks = [bench("fine"), bench("broken", objective="lost")]
    found = compare(BOTH, benchmarks, workers=2, seeds=2, budget=3, **conditions)
    alone = compare(BOTH, benchmarks[:1], workers=2, seeds=2, budget=3, **conditions)
    assert found.cells == alone.cells
    assert repr(found) == "<Comparison of 2 searches on 2 benchmarks: 4 cells, 4 failed>"
    assert [(cell.benchmark, error.startswith(FAILED)) for cell, error in found.errors.items()] == [
        ("broken", True)
    ] * 4
    summary = found.summary()
    assert summary["failed"].tolist() == [2, 2]
    for column in ("rank", "rank_low", "rank_high", "normalised_regret", "utilisation", "benchmarks"):
        assert summary[column].tolist() == alone.summary()[column].tolist()
    with pytest.raises(BadArgument, match="at least 2 benchmarks on which all searches have results; there are 1"):
        found.critical_difference()
    assert found.performance_profile().ratios.shape == (2, 2)  # of the seeds of one benchmark
    rows = found.to_dataframe()
    assert rows["error"].notna().tolist() == [False] * 4 + [True] * 4
    assert rows["failures"].tolist() == [0] * 4 + [3] * 4
    assert rows["normalised_regret"].isna().tolist() == [False] * 4 + [True] * 4


def test_a_text_that_says_a_failure_is_the_reason() -> None:
    found = compare({"up": upward}, bench("full", lambda job: {"loss": "F_oom", "seconds": 1.0}), 1, 1, 1)
    assert list(found.errors.values()) == ["its only evaluation failed: F_oom"]


def test_a_cell_with_one_result_has_one() -> None:
    def run(job: Any) -> Any:
        return parabola(job) if job["x"] == 3 else without_a_result(job)

    found = compare({"up": upward}, bench("hard", run), workers=1, seeds=1, budget=4)
    (row,) = found.rows()
    assert (row["evaluations"], row["failures"], row["error"], row["regret"]) == (4, 3, None, 0.0)


def test_time_that_is_too_short_for_an_evaluation_is_no_failure() -> None:
    found = compare({"up": upward}, bench("slow"), workers=1, seeds=1, max_time=0.5)
    assert (found.errors, len(found.cells), found.rows()[0]["evaluations"]) == ({}, 1, 0)
    assert math.isnan(found.rows()[0]["regret"])


def test_cells_whose_evaluations_all_failed_are_run_again_as_others_that_failed() -> None:
    storage, calls, works = MemoryStorage(), [0], [False]

    def run(job: Any) -> Any:
        calls[0] += 1
        return parabola(job) if works[0] else without_a_result(job)

    def again() -> tuple[int, int]:
        calls[0] = 0
        found = compare({"up": upward}, bench("mended", run), workers=1, seeds=2, budget=2, storage=storage)
        assert calls[0] in (0, 4)
        return len(found.cells), calls[0]

    assert [again(), again()] == [(0, 4), (0, 4)]
    works[0] = True
    assert [again(), again()] == [(2, 4), (2, 0)]


@pytest.mark.slow
def test_the_page_says_which_cells_have_no_result(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = compare({"up": upward}, bench("broken", objective="lost"), workers=1, seeds=1, budget=3)
    text = write_comparison_page(found, tmp_path / "page.html").read_text()
    assert "0 cells of at most 3 evaluations" in text
    assert "all 3 evaluations failed, first: evalpool.errors.BadArgument: run of the benchmark" in text


@pytest.mark.parametrize("settings", [{"batchsize": 3}, {"max_evals": 3}, {"seed": 3}, {3: 3}])
def test_arguments_that_a_search_cannot_return_are_named(settings: dict[Any, Any]) -> None:
    def make(space: Any, seed: int) -> Any:
        return RandomSearch(space, seed), settings

    found = compare({"mine": make}, bench("fine"), workers=1, seeds=1, budget=3)
    said = f"The search 'mine' was made with {next(iter(settings))!r} = 3 as an argument of simulate"
    assert said in found.errors[Cell("mine", "fine", 1, 0)]


def one(space: Any) -> None: ...
def three(space: Any, seed: int, dimension: int) -> None: ...
def keyword(space: Any, *, seed: int) -> None: ...


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (one, r"'mine' is <function one .*>, and its signature is \(space.*: too many positional arguments"),
        (three, r"signature is .*: missing a required argument: 'dimension'; give a function make\(space, seed\)"),
        (keyword, "too many positional arguments"),
    ],
)
def test_a_search_that_cannot_be_called_is_told_before_anything_runs(make: Any, said: str) -> None:
    ran = []

    def run(job: Any) -> Any:
        ran.append(job)
        return parabola(job)

    with pytest.raises(BadArgument, match=said):
        compare({"up": upward, "mine": make}, bench("fine", run), workers=1, seeds=1, budget=3)
    with pytest.raises(BadArgument, match=r"stopper is <function three .*'seed'; give a function make\(benchmark\)"):
        compare({"up": upward}, bench("fine", run), workers=1, seeds=1, budget=3, stopper=three)
    assert not ran
