"""``evalpool simulate``: a search on a benchmark in simulated time."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from evalpool import RandomSearch, simulate
from evalpool.benchmarks import load
from evalpool.cli import main
from evalpool.errors import BadArgument
from evalpool.search import HyperbandStopper, MedianStopper, SuccessiveHalvingStopper
from evalpool.simulation import Distribution, WorkerModel

MINE = """
from evalpool import RandomSearch
from evalpool.benchmarks import Benchmark, Suite

def run(job):
    if job["x"] == 3:
        return {"loss": "F_three", "seconds": 5.0}
    return {"loss": job["x"] * 1.0, "seconds": 60.0}

mine = Benchmark("mine", {"x": (0, 9)}, run, objectives="loss", maximize=False, runtime="seconds")
bare = Benchmark("bare", {"x": (0, 9)}, lambda job: 1.0)
both = lambda job: {"a": job["x"], "b": 1.0, "s": 1.0}
several = Benchmark("several", {"x": (0, 9)}, both, objectives=("a", "b"), runtime="s")
fails = Benchmark("fails", {"x": (0, 9)}, lambda job: {"objective": "F_no", "s": 1.0}, runtime="s")

def search(space, seed):
    return RandomSearch(space, seed)

def batches(space, seed, num_workers, max_evals):
    assert max_evals == 6
    return RandomSearch(space, seed), {"batch_size": num_workers}

def unknown(space, seed):
    return RandomSearch(space, seed), {"size": 4}

def one(space):
    return RandomSearch(space)

def boom(*given):
    raise RuntimeError("boom")

class Fails:
    def __init__(self, space, seed):
        pass

    def ask(self):
        return {}["x"]

    def tell(self, job):
        pass

class Ends(Fails):
    def ask(self):
        raise SystemExit(0)

class Family(Suite):
    def problems(self):
        return ["one"]

    def load(self, problem):
        raise RuntimeError(problem)

class Unfinished(Suite):
    pass
"""


@pytest.fixture(autouse=True)
def in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my-own.py").write_text(MINE)
    return tmp_path


def test_a_search_is_that_of_simulate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "digits", "--workers", "16", "--max-evals", "500", "--seed", "0", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    digits = load("digits")
    result = simulate(RandomSearch(digits, 0), digits, num_workers=16, max_evals=500, seed=0)
    assert said["digest"] == result.trace_digest()
    assert said["makespan"] == result.makespan
    assert said["best"]["value"] == -max(result.objectives)
    assert {key: said[key] for key in ("benchmark", "search", "workers", "seed", "evaluated", "failed", "over")} == {
        "benchmark": "digits", "search": "random", "workers": 16, "seed": 0, "evaluated": 500, "failed": 0,
        "over": "max_evals",
    }  # fmt: skip
    assert 0.9 < said["utilisation"] <= 1.0


def test_the_summary_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["simulate", "my-own.py:mine", "--search", "my-own.py:search", "--workers", "2", "--seed", "1"]
    assert main([*command, "--max-time", "20m", "--out", "schedule.csv"]) == 0
    said = capsys.readouterr().out
    assert "my-own.py:search on mine, 2 workers, seed 1" in said
    assert "loss 0, the smallest, after " in said
    assert "failed, ended by max_time" in said
    assert "virtual time 19 min 15 s, workers busy 100.0 %" in said
    with open("schedule.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "job", "worker", "ask_start", "start", "end", "status", "charged", "resumed_from", "objective", "p:x",
    ]  # fmt: skip
    assert {row["objective"] for row in rows if row["p:x"] == "3"} == {"F_three"}
    assert {row["charged"] for row in rows if row["status"] == "DONE"} == {"60.0"}


def test_the_schedule_may_be_lines_of_json() -> None:
    assert main(["simulate", "my-own.py:mine", "--max-evals", "4", "--seed", "0", "--out", "schedule.jsonl"]) == 0
    rows = [json.loads(line) for line in Path("schedule.jsonl").read_text().splitlines()]
    assert [row["start"] for row in rows] == [0.0, 60.0, 120.0, 180.0]
    assert [row["objective"] for row in rows] == [-row["configuration"]["x"] for row in rows]


def test_runtimes_and_think_time_can_be_declared(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["simulate", "my-own.py:bare", "--max-evals", "3", "--seed", "0", "--json"]
    assert main([*command, "--runtime", "10", "--overhead", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["makespan"] == 36.0
    assert main([*command, "--runtime", "1min", "--overhead", "500ms"]) == 0
    assert json.loads(capsys.readouterr().out)["makespan"] == 181.5
    assert main([*command, "--runtime", "10,0.5"]) == 0
    assert json.loads(capsys.readouterr().out)["makespan"] not in (30.0, 36.0)


def test_several_objectives_have_no_best(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "my-own.py:several", "--max-evals", "3", "--seed", "0", "--out", "s.csv"]) == 0
    assert "best" not in capsys.readouterr().out
    assert '"[' in Path("s.csv").read_text()


def test_only_evaluations_at_the_highest_fidelity_can_be_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    Path("low.csv").write_text("x,ep,loss,t\n1,1,0.1,1\n1,3,5,3\n2,1,3,1\n2,3,2,3\n3,1,3.5,1\n3,3,2.5,3\n")
    low = "low.csv?objectives=loss&maximize=False&runtime=t&fidelity=ep"
    command = ["simulate", low, "--search", "halving", "--seed", "0", "--max-evals"]
    assert main([*command, "40", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert (best["value"], best["configuration"]) == (2, {"x": 2, "ep": 3})  # and x=1 has 0.1 after one epoch
    assert main([*command, "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] is None
    assert main([*command, "1"]) == 0
    assert "none: no evaluation at the highest fidelity, ep=3, has a result" in capsys.readouterr().out


def test_a_search_of_which_every_evaluation_failed_has_an_exit_code_of_its_own() -> None:
    assert main(["simulate", "my-own.py:fails", "--max-evals", "3"]) == 3


def test_workers_fail_as_the_options_say(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["simulate", "my-own.py:mine", "--search", "my-own.py:search", "--workers", "2", "--seed", "1", "--json"]
    failing = ["--start-delay", "30,0.5", "--crash", "0.2", "--preempted-after", "5m", "--away", "60", "--retries", "1"]
    assert main([*command, "--max-evals", "20", *failing, "--worker-seed", "3"]) == 0
    said = json.loads(capsys.readouterr().out)
    model = WorkerModel(
        start_delay=Distribution.lognormal(30.0, 0.5, seed=3),
        crash=0.2,
        crash_seed=3,
        preempted_after=Distribution.exponential(300.0, seed=3),
        away=60.0,
    )
    benchmark = load("my-own.py:mine")
    result = simulate(
        RandomSearch(benchmark.space, 1), benchmark, num_workers=2, max_evals=20, seed=1, worker_model=model, retries=1
    )
    assert said["digest"] == result.trace_digest()


@pytest.mark.parametrize(
    ("name", "stopper"),
    [("median", MedianStopper), ("halving", SuccessiveHalvingStopper), ("hyperband", HyperbandStopper)],
)
def test_a_stopper_ends_jobs_on_a_benchmark_with_curves(
    name: str, stopper: type[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["simulate", "digits?curve=True", "--workers", "4", "--max-time", "0.5", "--seed", "1", "--stopper", name]
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    benchmark = load("digits", curve=True)
    result = simulate(
        RandomSearch(benchmark, 1), benchmark, num_workers=4, max_time=0.5, seed=1, stopper=stopper(max_steps=27)
    )
    assert (said["stopper"], said["digest"]) == (name, result.trace_digest())
    assert (
        said["digest"]
        != simulate(RandomSearch(benchmark, 1), benchmark, num_workers=4, max_time=0.5, seed=1).trace_digest()
    )


FALLING = """
from evalpool.benchmarks import Benchmark, Fidelity
from evalpool.search import MedianStopper

def run(job):
    return {"score": 0.0, "runtime": 2.0}

def curve(job):
    return [(1, job["x"], 1.0), (2, 0.0, 2.0)]

mine = Benchmark("falling", {"x": (1, 9)}, run, objectives="score", runtime="runtime", curve=curve,
                 fidelity=Fidelity("epochs", 1, 2))

def stopper(benchmark):
    return MedianStopper(max_steps=benchmark.fidelity.high, min_competing=2)
"""


def test_what_a_stopped_evaluation_reached_is_never_the_best(
    in_a_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_a_directory / "falling.py").write_text(FALLING)
    command = ["simulate", "falling.py:mine", "--max-evals", "20", "--seed", "1", "--stopper", "falling.py:stopper"]
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert 0 < said["stopped_early"] < 20
    assert said["best"]["value"] == 0.0  # the first points were from 1 to 9
    assert main(command) == 0
    assert f"20, {said['stopped_early']} stopped early, ended by max_evals" in capsys.readouterr().out


def test_a_search_of_a_file_gets_and_returns_what_it_does_in_a_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--search", "my-own.py:batches", "--max-evals", "6", "--seed", "1", "--json"]
    assert main(["simulate", "my-own.py:mine", "--workers", "3", *command]) == 0
    said = json.loads(capsys.readouterr().out)
    benchmark = load("my-own.py:mine")
    search = RandomSearch(benchmark.space, 1)
    result = simulate(search, benchmark, num_workers=3, max_evals=6, seed=1, batch_size=3)
    assert said["digest"] == result.trace_digest()
    assert main(["plan", "--benchmark", "my-own.py:mine", "--workers", "1", "--results", "6", *command]) == 0


BOOM = "raised RuntimeError: boom, at line 30 of "


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["--search", "my-own.py:boom"], f"The search 'my-own.py:boom' {BOOM}"),
        (["--search", "my-own.py:one"], "The search 'my-own.py:one' raised TypeError: one() takes 1 positional"),
        (["--search", "my-own.py:unknown"], "was made with 'size' = 4 as an argument of simulate"),
        (
            ["--search", "my-own.py:Fails"],
            "The search 'my-own.py:Fails' raised KeyError: 'x', at line",
        ),
        (["--search", "my-own.py:Ends"], "The search 'my-own.py:Ends' raised SystemExit: 0, at line"),
        (["--stopper", "my-own.py:boom"], f"The stopper 'my-own.py:boom' {BOOM}"),
    ],
)
def test_what_functions_of_a_file_raise_is_one_line(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [["simulate", "digits?curve=True"], ["plan", "--benchmark", "digits?curve=True", "--results", "3"]]
    for one in words[: 2 if command[0] == "--search" else 1]:
        assert main([*one, *command, "--max-evals", "3"]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    with pytest.raises(BadArgument) as error:
        main([*words[0], *command, "--max-evals", "3", "--debug"])
    assert "size" in message or error.value.__cause__ is not None


def test_what_the_function_of_a_benchmark_raises_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "my-own.py:boom", "--max-evals", "3"]) == 2
    assert f"The benchmark 'my-own.py:boom' {BOOM}" in capsys.readouterr().err
    for name, message in (
        ("my-own.py:Family", "raised RuntimeError: one, at line"),
        ("my-own.py:Unfinished", "raised TypeError: Can't instantiate abstract class Unfinished"),
    ):
        assert main(["simulate", name, "--max-evals", "3"]) == 2
        assert f"The benchmark '{name}' {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["simulate", "ends.py:train", "--max-evals", "3"],
        ["run", "ends.py:train", "--configs", "one.jsonl", "--out", "results.csv"],
    ],
)
def test_a_file_that_ends_the_program_when_it_is_imported_is_told(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ends.py").write_text("import sys\n\n\ndef train(job):\n    return 1.0\n\n\nsys.exit(0)\n")
    Path("one.jsonl").write_text('{"x": 1}\n')
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "ends the program by SystemExit: 0 at line 8 of " in said
    assert 'if __name__ == "__main__":' in said
    assert not Path("results.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "--max-evals", "3", "--stopper", "median"], "'digits' has no learning curves, and a stopper"),
        (
            ["digits?curve=True", "--max-evals", "3", "--stopper", "m"],
            "no stopper 'm'; known are median, halving, hyper",
        ),
        (["digits"], "give --max-evals or --max-time"),
        (["my-own.py:bare", "--max-evals", "3"], "'my-own.py:bare' has no runtimes; give --runtime 60"),
        (["digits", "--max-evals", "3", "--runtime", "a"], "--runtime is 'a'; give seconds, or a median and a sigma"),
        (["digits", "--max-evals", "3", "--runtime", "1,2,3"], "--runtime is '1,2,3'"),
        (["digits", "--max-evals", "3", "--start-delay", "a"], "--start-delay is 'a'; give seconds, or a median"),
        (["digits", "--max-evals", "3", "--away", "60"], "--away is '60' without --preempted-after"),
        (["digits", "--max-evals", "3", "--worker-seed", "3"], "--worker-seed is 3, and nothing happens to workers"),
        (["digits", "--max-evals", "3", "--start-delay", "-1"], "--start-delay is '-1'; give seconds"),
        (["digits", "--max-evals", "3", "--crash", "2"], "crash is 2.0; give the probability"),
        (["digits", "--max-evals", "3", "--overhead", "much"], "--overhead is 'much'; give one of none, measured, cpu"),
        (
            ["digits", "--max-evals", "3", "--out", "s.txt"],
            "--out is 's.txt'; give a file that ends with .csv or .jsonl",
        ),
        (["digits", "--max-evals", "3", "--out", "no/s.csv"], "/no' for 'no/s.csv'; make it first"),
        (["digits", "--max-evals", "3", "--search", "bayes"], "There is no search 'bayes'; known are random"),
        (["digit", "--max-evals", "3"], "no benchmark suite 'digit'"),
    ],
)
def test_a_mistake_is_said_before_anything_is_evaluated(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *arguments]) == 2
    assert message in capsys.readouterr().err
