"""``evalpool compare``: searches on benchmarks, as a file says."""

from __future__ import annotations

import csv
import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from evalpool.benchmarks import compare
from evalpool.cli import main
from evalpool.simulation import Distribution, WorkerModel

MINE = """
from evalpool import RandomSearch

def search(space, seed):
    return RandomSearch(space, seed)

def broken(space, seed):
    raise ZeroDivisionError("cannot be made")

def elsewhere(space, seed):
    return RandomSearch({"nowhere": [1, 2]}, seed)

def waits(space, seed):
    import gate
    gate.begun.set()
    assert gate.go.wait(60)
    return RandomSearch(space, seed)

from evalpool.benchmarks import Benchmark
untimed = Benchmark("untimed", {"x": (0, 9)}, lambda job: job["x"])
"""
SPEC = """
benchmarks = ["digits"]
workers = [1, 4]
seeds = [3, 5]
budget = 10

[searches]
random = "random"
mine = "my-own.py:search"
"""
SERIAL = ["--backend", "serial"]


@pytest.fixture(autouse=True)
def in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my-own.py").write_text(MINE)
    (tmp_path / "spec.toml").write_text(SPEC)
    return tmp_path


def written(spec: dict[str, object]) -> str:
    Path("spec.json").write_text(json.dumps(spec))
    return "spec.json"


def test_the_table_has_what_compare_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "spec.toml", *SERIAL, "--out", "cells.csv"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 searches on 1 benchmarks, 8 cells\n  1 worker\n    random  rank ")
    assert "  4 workers\n" in out
    with open("cells.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = compare(["random"], ["digits"], workers=[1, 4], seeds=[3, 5], budget=10)
    digests = [row["digest"] for row in rows if row["search"] == "random"]
    assert digests == [found.digest(cell) for cell in found.cells]
    assert [(row["search"], row["workers"], row["seed"]) for row in rows[:3]] == [
        ("random", "1", "3"), ("random", "1", "5"), ("random", "4", "3"),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_stored_comparison_goes_on_on_another_backend(capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--storage", "sqlite:///comparison.db", "--json"]
    assert main(["compare", "spec.toml", *SERIAL, *store]) == 0
    first = json.loads(capsys.readouterr().out)
    more = {"searches": ["random"], "benchmarks": ["digits"], "workers": [1, 4], "seeds": [3, 5, 7], "budget": 10}
    arguments = ["compare", written(more), "--backend", "process", "-n", "2", *store, "--out", "cells.jsonl"]
    assert main(arguments) == 0
    second = json.loads(capsys.readouterr().out)
    assert (first["cells"], second["cells"]) == (8, 6)
    assert main(["status", "comparison.db", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"]["succeeded"] == 10
    rows = [json.loads(line) for line in Path("cells.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == [3, 5, 7] * 2


def test_jobs_of_another_command_are_kept_out_of_a_comparison_and_not_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("one.jsonl").write_text('{"x": 1}\n')
    words = ["compare", "spec.toml", *SERIAL, "--storage", "sqlite:///all.db", "--json"]
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    other = ["run", "my-own.py:search", "--configs", "one.jsonl", "--storage", "sqlite:///all.db", "--resume", *SERIAL]
    assert main(other) == 2
    assert "search 0 was begun with the function evalpool compare" in capsys.readouterr().err
    main([*other, "--force"])
    capsys.readouterr()
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["summary"] == first["summary"]


def test_a_cell_that_fails_is_named_and_all_that_fail_are_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    spec: dict[str, object] = {"benchmarks": ["digits"], "workers": [1], "seeds": 1, "budget": 3}
    some = written({**spec, "searches": {"ok": "random", "bad": "my-own.py:broken"}})
    assert main(["compare", some, *SERIAL, "--out", "cells.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "1 cells, 1 failed" in out
    assert "failed  bad on digits, 1 workers, seed 0: ZeroDivisionError: cannot be made" in out
    rows = [json.loads(line) for line in Path("cells.jsonl").read_text().splitlines()]
    assert [row["error"] is None for row in rows] == [True, False]
    why = "not ranked: there is no benchmark and seed on which all searches have a result"
    assert f"ok   {why}, workers busy 100 %\n" in out
    assert f"bad  {why}\n" in out
    assert main(["compare", some, *SERIAL, "--json"]) == 0
    ok, bad = json.loads(capsys.readouterr().out)["summary"]
    assert (ok["rank"], ok["utilisation"], bad["rank"], bad["utilisation"]) == (None, 1.0, None, None)
    assert main(["compare", written({**spec, "searches": ["my-own.py:broken"]}), *SERIAL]) == 3


def test_cells_whose_evaluations_all_failed_are_told_and_are_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    spec: dict[str, object] = {"benchmarks": ["digits"], "workers": [1], "seeds": 1, "budget": 3}
    assert main(["compare", written({**spec, "searches": ["my-own.py:elsewhere"]}), *SERIAL]) == 3
    out = capsys.readouterr().out
    assert "0 cells, 1 failed\n" in out
    assert "seed 0: all 3 evaluations failed, first: evalpool.errors.BadArgument: " in out
    assert "every cell failed: in none of them an evaluation succeeded\n" in out
    assert "rank 1" not in out
    some = written({**spec, "searches": ["random", "my-own.py:elsewhere"]})
    assert main(["compare", some, *SERIAL, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["cells"], [row["search"] for row in said["failed"]]) == (1, ["my-own.py:elsewhere"])


def test_cells_of_another_program_are_missing_and_have_not_failed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = SimpleNamespace(begun=threading.Event(), go=threading.Event())
    monkeypatch.setitem(sys.modules, "gate", gate)
    store = "sqlite:///comparison.db"
    spec = {"searches": ["my-own.py:waits"], "benchmarks": ["digits"], "workers": [1], "seeds": 2, "budget": 3}
    other = threading.Thread(target=compare, kwargs={**spec, "storage": store})
    other.start()
    try:
        assert gate.begun.wait(60)
        assert main(["compare", written(spec), *SERIAL, "--storage", store]) == 4
    finally:
        gate.go.set()
        other.join(60)
    out = capsys.readouterr().out
    assert "1 searches on 1 benchmarks, 0 cells, 2 missing\n" in out
    assert "2 cells are evaluated by another program; run this again when it has ended, for all results.\n" in out
    assert "failed" not in out
    assert main(["compare", written(spec), *SERIAL, "--storage", store]) == 0
    assert "1 searches on 1 benchmarks, 2 cells\n" in capsys.readouterr().out


def test_a_file_gives_runtimes_to_benchmarks_without_any(capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks = {"mine": "my-own.py:untimed", "digits": "digits"}
    spec = {"searches": ["random"], "benchmarks": benchmarks, "workers": [2], "seeds": 1, "budget": 4}
    store = ["--storage", "sqlite:///comparison.db"]
    assert main(["compare", written(spec), *SERIAL]) == 2
    assert 'runtime = "600,0.5"' in capsys.readouterr().err
    table = ["--out", "cells.csv"]
    assert main(["compare", written({**spec, "runtime": "60"}), *SERIAL, *store, *table]) == 0
    capsys.readouterr()
    with open("cells.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["makespan"]) == 120.0
    plain = compare(["random"], ["digits"], workers=[2], seeds=1, budget=4)
    assert rows[1]["digest"] == plain.digest(plain.cells[0])
    assert main(["compare", written({**spec, "runtime": 60}), *SERIAL, *store]) == 0  # the same
    assert main(["compare", written({**spec, "runtime": "60,0.5"}), *SERIAL, *store]) == 2
    assert "was benchmark my-own.py:untimed with the runtime 60.0,0.0" in capsys.readouterr().err
    only = {**spec, "benchmarks": ["my-own.py:untimed"], "runtime": "60,0.5"}
    assert main(["compare", written(only), *SERIAL, *table]) == 0
    with open("cells.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["benchmark"] == "my-own.py:untimed"
    assert float(row["makespan"]) != 120.0


def test_a_time_in_a_file_is_read_as_that_of_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    spec: dict[str, object] = {"searches": ["random"], "benchmarks": ["digits"], "workers": [1], "seeds": 1}
    digests = []
    for given in ("0.05m", 3):
        assert main(["compare", written({**spec, "max_time": given}), *SERIAL, "--out", "cells.jsonl"]) == 0
        digests.append(json.loads(Path("cells.jsonl").read_text())["digest"])
    assert digests[0] == digests[1]


CONDITIONS = """
searches = ["random"]
benchmarks = ["digits?curve=True"]
workers = [4]
seeds = 2
budget = 20
stopper = "median"
retries = 1

[worker_model]
start_delay = {shape = "lognormal", median = 0.1, sigma = 0.5, seed = 4}
crash = 0.1
preempted_after = {shape = "measured", seconds = [1.0, 2.0]}
away = 0.5
"""


def test_a_file_says_how_workers_fail_and_what_stops_evaluations(
    in_a_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_a_directory / "spec.toml").write_text(CONDITIONS)
    assert main(["compare", "spec.toml", *SERIAL, "--out", "cells.csv", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    model = WorkerModel(
        start_delay=Distribution.lognormal(0.1, 0.5, seed=4),
        crash=0.1,
        preempted_after=Distribution.measured([1.0, 2.0]),
        away=0.5,
    )
    assert (said["stopper"], said["retries"], said["worker_model"]) == ("median", 1, repr(model))
    found = compare(
        ["random"], ["digits?curve=True"], workers=[4], seeds=2, budget=20, worker_model=model, retries=1,
        stopper="median",
    )  # fmt: skip
    with open("cells.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["digest"] for row in rows] == [found.digest(cell) for cell in found.cells]
    assert [row["stopped_early"] for row in rows] == [str(row["stopped_early"]) for row in found.rows()]
    assert main(["compare", "spec.toml", *SERIAL]) == 0
    out = capsys.readouterr().out
    assert f"worker model WorkerModel(start_delay={model.start_delay!r}" in out
    assert "stopper     median" in out


@pytest.mark.slow
def test_the_page_is_written() -> None:
    pytest.importorskip("matplotlib")
    assert main(["compare", "spec.toml", *SERIAL, "--page", "page.html"]) == 0
    assert "2 searches on 1 benchmarks" in Path("page.html").read_text()


GOOD = {"searches": ["random"], "benchmarks": ["digits"], "workers": [1], "seeds": 1, "budget": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({**GOOD, "seed": 1}), "'spec.json' has 'seed'; known are searches, benchmarks, workers"),
        (json.dumps({"searches": ["random"]}), "'spec.json' lacks benchmarks"),
        ("[1]", "'spec.json' holds list; give an object"),
        ("{", "'spec.json' cannot be read as JSON"),
        (json.dumps({**GOOD, "searches": ["tpa"]}), "There is no search 'tpa'; known are random; halving"),
        (json.dumps({**GOOD, "benchmarks": ["nosuch"]}), "no benchmark suite 'nosuch'; known are"),
        (json.dumps({**GOOD, "workers": ["many"]}), "workers is 'many'"),
        (json.dumps({**GOOD, "max_time": "2x"}), "max_time: '2x' is not a time; give seconds above 0, or as 90s"),
        (json.dumps({**GOOD, "runtime": "2x"}), "runtime is '2x'; give seconds, or a median and a sigma as 60,0.5"),
        (json.dumps({**GOOD, "runtime": [2]}), "runtime is [2]; give seconds, or a median and a sigma"),
        (json.dumps({**GOOD, "stopper": "median"}), "'digits' has no learning curves"),
        (json.dumps({**GOOD, "worker_model": 3}), "worker_model is 3; give a table with some of start_delay, crash"),
        (json.dumps({**GOOD, "worker_model": {"crush": 0.1}}), "worker_model has 'crush' = 0.1; known are start_delay"),
        (json.dumps({**GOOD, "worker_model": {"crash": 2}}), "crash is 2; give the probability"),
        (
            json.dumps({**GOOD, "worker_model": {"away": {"median": 2}}}),
            "away of worker_model has the shape None; give one of constant, uniform",
        ),
        (
            json.dumps({**GOOD, "worker_model": {"away": {"shape": "lognormal", "median": 2}}}),
            "away of worker_model is {'shape': 'lognormal', 'median': 2}: missing a required argument: 'sigma'",
        ),
    ],
)
def test_a_wrong_file_is_told_in_one_line(text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("spec.json").write_text(text)
    assert main(["compare", "spec.json", *SERIAL]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.toml"], "there is no file 'nowhere.toml'"),
        (["my-own.py"], "give one that ends with .toml or .json"),
        (["spec.toml", "--out", "cells.xls"], "--out is 'cells.xls'; give a file that ends with .csv or .jsonl"),
        (["spec.toml", "--page", "page.pdf"], "--page is 'page.pdf'; give a file that ends with .html"),
        (["spec.toml", "--out", "nowhere/cells.csv"], "No directory"),
        (["spec.toml", "--backend", "executor"], "needs an executor of your program"),
    ],
)
def test_a_wrong_option_is_told_before_anything_runs(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_toml_that_cannot_be_read_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    Path("spec.toml").write_text("searches = [\n")
    assert main(["compare", "spec.toml"]) == 2
    assert "'spec.toml' cannot be read as TOML" in capsys.readouterr().err
