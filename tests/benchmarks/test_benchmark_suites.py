"""Benchmarks by name: suites of evalpool and of other packages, tables and files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from evalpool import RandomSearch, simulate
from evalpool.benchmarks import SUITES, Benchmark, RuntimeModel, Suite, load
from evalpool.errors import BadArgument, UnknownMethod

FILE = """
from evalpool.benchmarks import Benchmark, Suite

parabola = Benchmark("parabola", {"x": (0, 9)}, lambda job: {"objective": -job["x"], "s": 1.0}, runtime="s")

def make(steps=9):
    return Benchmark("made", {"x": (0, steps)}, lambda job: 1.0)

class Mine(Suite):
    def problems(self):
        return ["one", "two"]
    def load(self, problem, steps=9):
        return Benchmark(f"mine:{problem}", {"x": (0, steps)}, lambda job: 1.0)

nothing = lambda: 3
search = lambda space, seed: None
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "my-benchmarks.py"
    path.write_text(FILE)
    return str(path)


def test_the_digits_are_a_benchmark_of_our_own() -> None:
    digits = load("digits")
    assert list(digits.space) == ["units", "rate", "batch", "penalty"]
    assert digits.fidelity is not None
    assert digits.fidelity.levels == (1, 3, 9, 27)
    found = digits({"units": 4, "rate": 0.0001, "batch": 8, "penalty": 0.0001, "epochs": 3})
    assert found == {"error": 0.8476, "seconds": 0.105, "objective": -0.8476, "runtime": 0.105}
    assert load("digits:error", curve=True).curve({"units": 4, "rate": 0.0001, "batch": 8, "penalty": 0.0001})
    result = simulate(RandomSearch(digits, seed=0), digits, num_workers=8, max_evals=100, seed=0)
    assert result.trace_digest() == "11bbdedef20f1002b0cfe6ab88940942"


def test_a_benchmark_in_a_file_needs_no_registration(file: str) -> None:
    assert load(f"{file}:parabola")({"x": 2})["objective"] == -2
    assert load(f"{file}:make?steps=4").space == {"x": (0, 4)}
    assert load(f"{file}:make", steps=5, runtime=RuntimeModel.constant(2.0))({"x": 2})["runtime"] == 2.0
    assert load(f"{file}:Mine?problem=two&steps=3").name == "mine:two"


def test_a_table_is_a_benchmark_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text("x,loss,minutes\n1,0.5,2\n2,0.25,3\n")
    benchmark = load(f"{path}?objectives=loss&maximize=False&runtime=minutes&runtime_unit=min")
    assert benchmark({"x": 2}) == {"loss": 0.25, "minutes": 3, "objective": -0.25, "runtime": 180.0}


def test_several_columns_are_named_with_commas(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text("run,x,y,loss,speed,runtime\n1,1,2,0.5,7.0,2\n2,2,2,0.25,9.0,3\n")
    benchmark = load(f"{path}?objectives=loss,speed&maximize=False,True&parameters=x,y")
    assert benchmark({"x": 2, "y": 2})["objective"] == (-0.25, 9.0)
    assert load(f"{path}?objectives=loss&parameters=x").space == {"x": [1, 2]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "The name of a benchmark is ''"),
        ("nope:phoneme", "no benchmark suite 'nope'; known are .*digits"),
        ("digits:loss", "'digits' has no problem 'loss'; it has error"),
        ("digits?curves=1", r"'digits\?curves=1' has no option 'curves'; it has curve"),
        ("digits?curve", r"'digits\?curve' has 'curve' behind the question mark; give option=value"),
        ("digits?curve=true", r"option 'curve' of 'digits\?curve=true' is 'true'; give True or False"),
        ("digits?curve=True&curve=False", "has the option 'curve' twice; give it once"),
        ("FILE:search", "search' needs 'space', 'seed': give space=.*&seed=.* behind the question mark"),
        ("FILE:parabola?steps=3", "takes no options; got steps"),
        ("FILE:make?step=3", "no option 'step'; it has steps"),
        ("FILE:Mine?problem=three", "no problem 'three'; it has one, two"),
        ("FILE:nothing", "is 3 of type int, not a Benchmark"),
        ("FILE:missing", "no function 'missing'"),
        ("FILE", "neither a table in .csv nor 'file.py:name'"),
        ("no/such.csv", "there is no file 'no/such.csv'"),
    ],
)
def test_a_name_that_finds_nothing_says_what_there_is(name: str, message: str, file: str) -> None:
    with pytest.raises(BadArgument, match=message):
        load(name.replace("FILE", file))


def test_a_package_adds_its_suite_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parabolas.py").write_text(FILE)
    info = tmp_path / "parabolas-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parabolas\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[evalpool.benchmarks]\nparabolas = parabolas:Mine\nodd = parabolas:make\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert load("parabolas:two").name == "mine:two"
    assert {"parabolas", "digits"} <= set(SUITES)
    with pytest.raises(BadArgument, match="no subclass of Suite"):
        load("odd:x")
    with pytest.raises(UnknownMethod, match="parabolas"):
        load("none:x")


def test_the_reports_of_benchmarks_are_short() -> None:
    benchmark = Benchmark("b", {"x": (0, 9)}, lambda job: 1.0)
    assert repr(benchmark) == "<Benchmark 'b' of 1 parameters, without runtimes>"
    assert repr(RuntimeModel.lognormal(60, 0.5)) == "<RuntimeModel 60 s, lognormal with sigma 0.5, seed 0>"


def test_a_suite_is_ten_lines() -> None:
    class Mine(Suite):
        def problems(self) -> list[str]:
            return ["one"]

        def load(self, problem: str, steps: int = 9) -> Benchmark:
            def run(job: Any) -> dict[str, float]:
                return {"loss": job["x"] ** 2.0, "seconds": 60.0}

            return Benchmark(
                f"mine:{problem}", {"x": (0, steps)}, run, objectives="loss", maximize=False, runtime="seconds"
            )

    assert Mine().load("one")({"x": 3})["objective"] == -9.0
