"""Comparisons: what a cell gives, that it is the same everywhere, that a comparison goes on, and what it says."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from evalpool import RandomSearch, simulate
from evalpool.benchmarks import Benchmark, Cell, Fidelity, RuntimeModel, compare
from evalpool.benchmarks._compare._cells import Limits, outcome_of, seed_from
from evalpool.benchmarks._compare._comparison import Comparison
from evalpool.cli import main
from evalpool.errors import BadArgument, UnknownMethod
from evalpool.search import MedianStopper
from evalpool.storage import MemoryStorage, SQLiteStorage
from proposals import Listed

CALLS: list[int] = []


def parabola(job: Any) -> dict[str, float]:
    CALLS.append(job["x"])
    return {"loss": float((job["x"] - 3) ** 2), "seconds": 1.0 + job["x"]}


def bench(name: str = "parabola", run: Any = parabola, **more: Any) -> Benchmark:
    space = {"x": (0, 9)}
    return Benchmark(name, space, run, objectives="loss", maximize=False, runtime="seconds", **more)


def make_upward(benchmark: Benchmark, seed: int) -> Listed:
    return Listed([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])


def make_downward(benchmark: Benchmark, seed: int) -> Listed:
    return Listed([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])


def make_broken(benchmark: Benchmark, seed: int) -> Listed:
    raise ZeroDivisionError("cannot be made")


BOTH = {"up": make_upward, "down": make_downward}


def test_a_cell_has_its_improvements_in_virtual_time() -> None:
    # worker 0: |0 x=0 1| x=2       4|
    # worker 1: |0 x=1   2| x=3         6|
    comparison = compare({"up": make_upward}, bench(), workers=2, seeds=1, budget=4)
    (cell,) = comparison.cells
    assert cell == Cell("up", "parabola", 2, 0)
    found = comparison.trajectory(cell)
    assert found["time"] == [1.0, 2.0, 4.0, 6.0]
    assert found["evaluations"] == [1, 2, 3, 4]
    assert found["best"] == [-9.0, -4.0, -1.0, 0.0]
    assert found["regret"] == [9.0, 4.0, 1.0, 0.0]
    assert found["normalised_regret"] == pytest.approx([1.0, 4 / 9, 1 / 9, 0.0])
    (row,) = comparison.to_dataframe().to_dict("records")
    # Job 4 (x=4) ran on worker 0 from 4 on when the fourth was told: both were busy all the time.
    assert (row["makespan"], row["utilisation"], row["evaluations"], row["regret"]) == (6.0, 1.0, 4, 0.0)
    assert comparison.bounds == {"parabola": (0.0, -9.0)}


def test_bounds_that_a_benchmark_knows_count() -> None:
    known = bench(metadata={"best": 0.0, "worst": -36.0})
    comparison = compare({"up": make_upward}, [known], workers=1, seeds=1, budget=2)
    assert comparison.trajectory(comparison.cells[0])["normalised_regret"] == [0.25, 4 / 36]


def test_idle_workers_lower_the_utilisation() -> None:
    comparison = compare({"up": make_upward}, bench(), workers=[4], seeds=1, max_time=1.5)
    (row,) = comparison.to_dataframe().to_dict("records")
    assert row["evaluations"] == 1  # x=0; the others would end after the limit
    assert row["utilisation"] == 1.0
    comparison = compare({"up": make_upward}, bench(), workers=[4], seeds=1, budget=2, overhead=0.5)
    (row,) = comparison.to_dataframe().to_dict("records")
    # Decisions end at 0.5, 1.0, 1.5, 2.0; x=0 ends at 1.5 and the next begins at 2.5, x=1 ends at 3.0.
    assert row["makespan"] == 3.0
    assert row["utilisation"] == pytest.approx((1.0 + 0.5 + 2.0 + 1.5 + 1.0) / 12.0)


def test_lower_fidelities_count_as_evaluations_and_are_never_the_best() -> None:
    def run(job: Any) -> dict[str, float]:
        return {"loss": float(job["x"]), "seconds": float(job["epochs"])}

    both = bench(run=run, fidelity=Fidelity("epochs", 1, 9))

    class Deepening(Listed):
        def ask(self) -> Any:
            return super().ask(), {"epochs": 9 if next(self.values) else 1}

        def tell(self, eval_config: Any, results: Any, *, fidels: Any, config_id: Any = None) -> None:
            """Does not need to know."""

    result = simulate(Deepening([0, 0, 5, 1, 1, 0, 4, 1]), both, num_workers=1, max_evals=4)
    outcome = outcome_of(result, both, 1)
    assert (outcome["time"], outcome["evaluations"], outcome["best"]) == ([10.0, 20.0], [2, 4], [-5.0, -4.0])
    assert (outcome["worst"], outcome["count"]) == (-5.0, 4)


def test_seeds_derive_from_names_alone() -> None:
    assert seed_from("search", "tpe", "digits", 0) == 1922799347
    assert seed_from("search", "tpe", "digits", 0) != seed_from("search", "tpe", "digits", 1)
    one = compare(["random"], ["digits"], workers=[1, 4], seeds=3, budget=10)
    other = compare(["random"], ["digits"], workers=[4], seeds=[2, 1], budget=10)
    assert [other.digest(cell) for cell in other.cells] == [one.digest(cell) for cell in other.cells]
    assert [(cell.workers, cell.seed) for cell in other.cells] == [(4, 2), (4, 1)]


@pytest.mark.slow
def test_each_cell_has_the_same_digest_on_every_backend() -> None:
    pytest.importorskip("optuna")
    settings: dict[str, Any] = {"workers": [1, 8], "seeds": 2, "budget": 20}
    digests = []
    for evaluator, count in (("serial", None), ("thread", 3), ("process", 2)):
        found = compare(["random", "tpe"], ["digits"], evaluator=evaluator, num_workers=count, **settings)
        assert not found.errors
        digests.append({cell: found.digest(cell) for cell in found.cells})
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests[0].values())) == 8


@pytest.mark.slow
def test_families_of_searches_run_on_the_digits() -> None:
    names = ["random"]
    for package, more in (("optuna", ["tpe", "nsga2"]), ("skopt", ["skopt"]), ("nevergrad", ["nevergrad:CMA"])):
        pytest.importorskip(package)
        names += more
    # In a process: the packages warn of their own future.
    found = compare(names, ["digits"], workers=4, seeds=1, budget=6, evaluator="process")
    assert not found.errors
    assert found.to_dataframe()["failures"].tolist() == [0] * 5
    assert found.summary()["rank"].sum() == 15


def test_a_cell_that_fails_says_which_and_the_others_go_on() -> None:
    found = compare({"broken": make_broken, **BOTH}, bench(), workers=[1, 2], seeds=1, budget=3)
    assert len(found.cells) == 4
    assert list(found.errors) == [Cell("broken", "parabola", 1, 0), Cell("broken", "parabola", 2, 0)]
    assert "ZeroDivisionError: cannot be made" in found.errors[Cell("broken", "parabola", 1, 0)]
    frame = found.to_dataframe()
    assert frame["error"].notna().sum() == 2
    assert found.summary()["failed"].tolist() == [1, 0, 0, 1, 0, 0]
    assert found.summary()["benchmarks"].tolist() == [0] * 6  # none has results of all searches
    with pytest.raises(BadArgument, match="broken on parabola, 1 workers, seed 0; ZeroDivisionError"):
        found.digest(Cell("broken", "parabola", 1, 0))


def test_evaluations_that_fail_are_counted() -> None:
    def fails(job: Any) -> Any:
        if job["x"] < 2:
            raise MemoryError("too large")
        return parabola(job)

    found = compare({"up": make_upward}, bench(run=fails), workers=1, seeds=1, budget=3)
    (row,) = found.to_dataframe().to_dict("records")
    assert (row["evaluations"], row["failures"], row["best"], row["error"]) == (3, 2, -1.0, None)
    assert row["first_failure"] == "F_MemoryError"


@pytest.mark.parametrize("url", [True, False])
def test_a_comparison_goes_on_where_it_was(tmp_path: Path, url: bool) -> None:
    place = tmp_path / "comparison.db"

    def run(searches: dict[str, Any], benchmark: Benchmark, **more: Any) -> Comparison:
        settings = {"workers": [1, 2], "seeds": 2, "budget": 3, **more}
        if url:
            return compare(searches, [benchmark], storage=f"sqlite:///{place}", **settings)
        with SQLiteStorage(place) as storage:
            return compare(searches, [benchmark], storage=storage, **settings)

    first = run({"up": make_upward}, bench())
    CALLS.clear()
    again = run({"up": make_upward}, bench())
    assert not CALLS
    assert again.to_dataframe().equals(first.to_dataframe())
    more = run(BOTH, bench(), seeds=3)
    assert len(CALLS) >= 3 * (2 + 3 * 2)  # two cells of `up`, six of `down`
    assert len(more.cells) == 12
    assert more.digest(first.cells[0]) == first.digest(first.cells[0])
    other_limits = run({"up": make_upward}, bench(), budget=4)
    assert other_limits.to_dataframe()["evaluations"].tolist() == [4] * 4
    with SQLiteStorage(place) as storage:
        assert storage.load_all_search_ids() == ["0", "1"]
    with pytest.raises(BadArgument, match=r"'up' of searches is .*make_downward, and was .*make_upward"):
        run({"up": make_downward}, bench())


HANGS = """
import os
import threading
from evalpool import RandomSearch

def make(space, seed):
    with open("made", "a") as file:
        file.write("x")
    if os.path.getsize("made") == 3 and not os.path.exists("go"):
        open("hangs", "w").close()
        threading.Event().wait(60)
    return RandomSearch(space, seed)
"""


@pytest.mark.slow
def test_a_comparison_that_is_killed_goes_on_with_the_cells_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "hangs_once.py").write_text(HANGS)
    settings: dict[str, Any] = {"workers": [2], "seeds": 5, "budget": 10, "storage": "sqlite:///kept.db"}
    program = f"from evalpool.benchmarks import compare\ncompare(['hangs_once.py:make'], ['digits'], **{settings!r})"
    process = subprocess.Popen([sys.executable, "-c", program])
    pause, ends = threading.Event(), time.monotonic() + 60

    def has_recorded_two() -> bool:
        """The third hangs; the second is recorded by a thread, which may take longer than the third takes to begin."""
        if not (tmp_path / "hangs").exists():
            return False
        with SQLiteStorage("kept.db") as storage:
            return [record.status.value for record in storage.records("0")].count("DONE") == 2

    try:
        while not has_recorded_two():
            assert process.poll() is None
            assert time.monotonic() < ends
            pause.wait(0.02)
    finally:
        process.kill()
        process.wait()
    assert main(["status", "kept.db"]) == 0
    assert "3 jobs are unfinished and no program works on them: continue with the same `evalpool compare`" in (
        capsys.readouterr().out
    )
    (tmp_path / "go").touch()
    (tmp_path / "made").unlink()
    found = compare(["hangs_once.py:make"], ["digits"], **settings)
    assert (tmp_path / "made").read_text() == "xxx"  # of five: the third, which was lost, and two more
    fresh = compare(["hangs_once.py:make"], ["digits"], **{**settings, "storage": None})
    assert not found.errors
    assert [found.digest(cell) for cell in found.cells] == [fresh.digest(cell) for cell in fresh.cells]


def test_a_table_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    bests = []
    for loss in (5.0, 2.0):
        table.write_text(f"x,loss,runtime\n1,{loss},1.0\n")
        found = compare(["random"], [f"{table}?objectives=loss&maximize=False"], workers=[1], seeds=1, budget=1)
        bests += found.trajectory(found.cells[0])["best"]
    assert bests == [-5.0, -2.0]


def test_cells_that_failed_are_run_again() -> None:
    storage = MemoryStorage()
    works = [False]

    def make(benchmark: Benchmark, seed: int) -> Listed:
        if not works[0]:
            raise ConnectionError("no licence")
        return Listed([1, 2, 3])

    first = compare({"mine": make}, bench(), workers=1, seeds=1, budget=2, storage=storage)
    works[0] = True
    second = compare({"mine": make}, bench(), workers=1, seeds=1, budget=2, storage=storage)
    assert (len(first.errors), len(second.errors), len(second.cells)) == (1, 0, 1)


def test_a_search_may_need_arguments_of_simulate_and_the_workers() -> None:
    seen = []

    def make(benchmark: Benchmark, seed: int, num_workers: int) -> Any:
        seen.append((benchmark.name, num_workers))
        return RandomSearch(benchmark, seed), {"batch_size": 2}

    found = compare({"batches": make}, bench(), workers=[2, 3], seeds=1, budget=6)
    assert not found.errors
    assert seen == [("parabola", 2), ("parabola", 3)]
    assert found.to_dataframe()["utilisation"].max() < 1.0  # there is a barrier behind each batch


def test_ranks_and_profiles_of_a_comparison() -> None:
    left, right = bench("left"), bench("right", lambda job: {"loss": float(9 - job["x"]), "seconds": 2.0})
    found = compare(BOTH, [left, right], workers=[1], seeds=2, budget=3)
    # left: up reaches 2 of [0, 9], which is best there; down reaches 7. right: down is best at once.
    summary = found.summary()
    assert summary["rank"].tolist() == [1.5, 1.5]
    assert summary["benchmarks"].tolist() == [2, 2]
    difference = found.critical_difference()
    assert (difference.num_blocks, difference.ranks, difference.groups) == (2, (1.5, 1.5), ((0, 1),))
    assert found.critical_difference(blocks="runs").num_blocks == 4
    profile = found.performance_profile(target=0.0)
    assert (profile.share("up", 100.0), profile.share("down", 1.0)) == (0.5, 0.5)
    assert found.performance_profile(target=1.0, over="evaluations").share("up", 1.0) == 1.0
    for arguments, message in (
        ({"workers": 8}, "workers is 8; give one of 1"),
        ({"over": "money"}, "over is 'money'"),
        ({"target": 2.0}, "target is 2.0"),
        ({"target": None}, "target is None"),
    ):
        with pytest.raises(BadArgument, match=message):
            found.performance_profile(**arguments)  # type: ignore[arg-type]
    for wrong in (95, -0.5, math.nan, "0.95"):
        with pytest.raises(BadArgument, match=r"confidence is .*; give a share from 0 to 1"):
            found.summary(wrong)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="blocks is 'days'"):
        found.critical_difference(blocks="days")
    assert len(found.trajectories()) == sum(len(found.trajectory(cell)["time"]) for cell in found.cells)


def test_a_comparison_of_one_benchmark_has_no_critical_difference() -> None:
    found = compare(BOTH, bench(), workers=[1], seeds=2, budget=2)
    with pytest.raises(BadArgument, match="at least 2 benchmarks on which all searches have results; there are 1"):
        found.critical_difference()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"searches": ["tpa"]}, BadArgument, "no search 'tpa'; known are random; halving, .*path/to/file.py:function"),
        (
            {"searches": ["random", "halving"], "benchmarks": [bench()]},
            BadArgument,
            "'halving' evaluates at low .* has no fidelity",
        ),
        ({"searches": [make_upward]}, BadArgument, "which has no name; give a dict"),
        ({"searches": {"mine": RandomSearch({"x": (0, 1)})}}, BadArgument, "each cell needs a new one"),
        ({"searches": []}, BadArgument, "searches is .*give at least one"),
        ({"searches": ["random", "random"]}, BadArgument, "'random' twice"),
        ({"benchmarks": ["nosuch"]}, UnknownMethod, "no benchmark suite 'nosuch'; known are .*digits"),
        ({"benchmarks": ["digits:nosuch"]}, BadArgument, "no problem 'nosuch'; it has error"),
        ({"benchmarks": [bench().with_runtime(None)]}, BadArgument, "'parabola' has no runtimes"),
        ({"benchmarks": {"two": bench(run=parabola).with_runtime(None)}}, BadArgument, "'two' has no runtimes"),
        ({"workers": []}, BadArgument, "workers is .*give whole numbers of at least 1"),
        ({"workers": [0]}, BadArgument, "workers is 0"),
        ({"seeds": 0}, BadArgument, "seeds is 0"),
        ({"budget": None}, BadArgument, "Nothing would end a cell"),
        ({"budget": 0}, BadArgument, "budget is 0"),
        ({"max_time": -1}, BadArgument, "max_time is -1"),
        ({"overhead": -1}, BadArgument, "overhead is -1"),
        ({"evaluator": "quantum"}, UnknownMethod, "quantum"),
        ({"evaluator": 3}, BadArgument, "evaluator is 3"),
        ({"storage": 3}, BadArgument, "storage is 3 of type int; give an evalpool.storage.Storage"),
        ({"storage": "null://"}, BadArgument, "keeps no result of a cell"),
        ({"options": 3}, BadArgument, "options is 3 of type int; give a dict"),
        (
            {"benchmarks": {"mine": [{"x": 1}] * 99}},
            BadArgument,
            r"'mine' is \[\{'x': 1.{90,120} of type list; .*from_table",
        ),
        ({"options": {"job_timeuot": 3}}, BadArgument, "no argument 'job_timeuot'"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_runs(arguments: Any, error: type, message: str) -> None:
    given = {"searches": ["random"], "benchmarks": ["digits"], "workers": [1], "seeds": 1, "budget": 3, **arguments}
    with pytest.raises(error, match=message):
        compare(**given)


@pytest.mark.parametrize("objective", [(0.5, 0.7), 10**400])
def test_an_objective_that_is_no_number_fails_its_cell_and_is_named(objective: Any) -> None:
    broken = Benchmark("b", {"x": (0, 9)}, lambda job: objective, runtime=RuntimeModel.constant(1.0))
    found = compare(["random"], broken, workers=1, seeds=1, budget=2)
    (error,) = found.errors.values()
    assert f"The objective of evaluation 0 is {str(objective)[:10]}" in error
    assert "regret needs one number" in error


@pytest.mark.parametrize("what", ["optimiser", "stopper"])
def test_an_optimiser_or_a_stopper_of_another_cell_is_refused(what: str) -> None:
    kept: list[Any] = [RandomSearch({"x": (0, 9)}, 0), MedianStopper(max_steps=3)]

    def make(space: Any, seed: int) -> Any:
        if what == "optimiser":
            return kept[0]
        return RandomSearch(space, seed), {"stopper": kept[1]}

    found = compare({"kept": make}, bench(), workers=1, seeds=3, budget=4)
    assert len(found.cells) == 1
    for error in found.errors.values():
        assert "which another cell had before and which remembers what it was told there; make a new one" in error


def test_several_objectives_have_no_regret() -> None:
    two = Benchmark("two", {"x": (0, 9)}, lambda job: {"a": 1, "b": 2}, objectives=["a", "b"], runtime="a")
    with pytest.raises(BadArgument, match="'two' has 2 objectives, a, b; regret needs one"):
        compare(["random"], [two], workers=[1], seeds=1, budget=3)


def test_a_search_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "my_searches_of_a_file.py"
    path.write_text(
        "from evalpool import RandomSearch\n"
        "def make(space, seed):\n    return RandomSearch(dict(space), seed)\n"
        "def nothing(benchmark, seed):\n    return 3\n"
    )
    found = compare({"mine": f"{path}:make"}, ["digits"], workers=[1], seeds=1, budget=3)
    assert not found.errors
    with pytest.raises(BadArgument, match="has no function 'other'; it has make, nothing"):
        compare([f"{path}:other"], ["digits"], workers=[1], seeds=1, budget=3)
    for maker in (RandomSearch, lambda benchmark, seed: RandomSearch(benchmark.space, seed)):
        same = compare({"mine": maker}, ["digits"], workers=[1], seeds=1, budget=3)
        assert same.digest(same.cells[0]) == found.digest(found.cells[0])
    wrong = compare([f"{path}:nothing"], ["digits"], workers=[1], seeds=1, budget=3)
    assert "must return an object with ask and tell" in next(iter(wrong.errors.values()))


def test_an_empty_comparison_has_empty_frames() -> None:
    empty = Comparison(["random"], ["digits"], [1], [0], Limits(3, None, 0.0), {}, {})
    assert empty.to_dataframe().empty
    assert empty.trajectories().empty
    assert empty.summary()["benchmarks"].tolist() == [0]
