"""``evalpool run``: what is evaluated, what is kept, how it ends."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from cli.conftest import Command

pytestmark = pytest.mark.slow


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def wait_for_calls(evalpool: Command, process: subprocess.Popen[str], least: int) -> None:
    """Until the run-function was called so often; the file is looked at, for it is another program that writes it."""
    pause = threading.Event()
    while len(evalpool.calls) < least:
        assert process.poll() is None, process.communicate()
        pause.wait(0.02)


def test_a_file_of_configurations_becomes_a_table(evalpool: Command) -> None:
    done = evalpool("run", "program:run", "--configs", "grid.jsonl", "-n", "2", "--out", "out.csv", "--progress", "off")
    table = rows(evalpool.directory / "out.csv")
    assert {row["p:x"]: row["objective"] for row in table} == {
        str(x): "F_ValueError" if x == 3 else str(10 - (x - 5) ** 2) for x in range(8)
    }
    assert "8 of 8, 1 failed" in done.stdout
    assert "job 0.5: x=5" in done.stdout
    assert "F_ValueError 1" in done.stdout
    assert done.stderr == ""


def test_the_summary_for_programs_is_one_object(evalpool: Command) -> None:
    arguments = ["--configs", "grid.jsonl", "--backend", "thread", "--out", "out.jsonl", "--json", "--progress", "off"]
    summary = json.loads(evalpool("run", "program.py:run", *arguments).stdout)
    assert summary["jobs"] == {"all": 8, "waiting": 0, "running": 0, "succeeded": 7, "failed": 1, "cancelled": 0}
    assert summary["best"] == {"job_id": "0.5", "objective": 10, "configuration": {"x": 5}}
    lines = (evalpool.directory / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["configuration"]["x"] for line in lines] == list(range(8))


def test_configurations_come_from_a_table_that_evalpool_wrote(evalpool: Command) -> None:
    (evalpool.directory / "again.csv").write_text("p:x,objective,job_id\n1,F_oops,0\n4,2.5,1\n")
    evalpool("run", "program:run", "--configs", "again.csv", "--backend", "serial", "--out", "out.csv")
    assert [(row["p:x"], row["objective"]) for row in rows(evalpool.directory / "out.csv")] == [("1", "-6"), ("4", "9")]


def test_a_file_that_cannot_be_imported_by_its_name_reaches_worker_processes(evalpool: Command) -> None:
    folder = evalpool.directory / "code"
    folder.mkdir()
    (folder / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    (folder / "my-script.py").write_text("import helper\ndef run(job):\n    return helper.double(job['x'])\n")
    evalpool("run", "code/my-script.py:run", "--configs", "grid.jsonl", "--out", "out.csv", "--progress", "off")
    assert [row["objective"] for row in rows(evalpool.directory / "out.csv")] == [str(2 * x) for x in range(8)]


def test_a_killed_run_is_resumed_with_what_is_missing(evalpool: Command, store: str) -> None:
    arguments = ["run", "program:hang", "--configs", "grid.jsonl", "--storage", store, "--progress", "off"]
    process = evalpool.start(*arguments, "-n", "2")
    wait_for_calls(evalpool, process, 5)  # 3 and 4 hang
    while json.loads(evalpool("status", store, "--json").stdout)["evaluated"] < 3:
        pass  # what has finished is about to be written
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert "abandoned" in evalpool("status", store).stdout
    (evalpool.directory / "go").touch()
    done = evalpool(*arguments, "-n", "2", "--resume", "--json", "--out", "out.csv")
    summary = json.loads(done.stdout)
    assert summary["jobs"]["succeeded"] == summary["total"] == 8
    assert sorted(evalpool.calls) == [0, 1, 2, 3, 3, 4, 4, 5, 6, 7]
    assert sorted(int(row["p:x"]) for row in rows(evalpool.directory / "out.csv")) == list(range(8))
    again = json.loads(evalpool(*arguments, "--resume", "--json").stdout)
    assert again["jobs"]["all"] == 8
    assert len(evalpool.calls) == 10


def test_ctrl_c_keeps_what_had_finished_and_the_rest_is_resumed(evalpool: Command) -> None:
    arguments = ["run", "program:hang", "--configs", "grid.jsonl", "--storage", "sqlite:///runs.db"]
    process = evalpool.start(*arguments, "--progress", "off", "--out", "out.csv")
    wait_for_calls(evalpool, process, 4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert err == "evalpool: interrupted\n"
    assert "3 of 8" in out
    assert [row["objective"] for row in rows(evalpool.directory / "out.csv")][:3] == ["0", "1", "2"]
    (evalpool.directory / "go").touch()
    evalpool(*arguments, "--resume", "--progress", "off")
    assert sorted(evalpool.calls) == [0, 1, 2, 3, 3, 4, 5, 6, 7]


def test_a_run_that_is_told_to_end_is_resumed(evalpool: Command) -> None:
    arguments = [
        "run",
        "program:hang",
        "--configs",
        "grid.jsonl",
        "--storage",
        "sqlite:///runs.db",
        "--progress",
        "off",
    ]
    process = evalpool.start(*arguments)
    wait_for_calls(evalpool, process, 4)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    (evalpool.directory / "go").touch()
    summary = json.loads(evalpool(*arguments, "--resume", "--json").stdout)
    assert summary["jobs"]["succeeded"] == summary["jobs"]["all"] == 8


def test_a_random_search_is_repeatable_and_resumed_to_its_number(evalpool: Command) -> None:
    space = {"x": {"low": 0, "high": 9}, "lr": {"low": 1e-5, "high": 0.1, "log": True}, "kind": ["a", "b"]}
    (evalpool.directory / "space.json").write_text(json.dumps(space))
    arguments = [
        "--search",
        "random",
        "--space",
        "space.json",
        "--seed",
        "7",
        "--backend",
        "thread",
        "--progress",
        "off",
    ]
    for name in ("one", "two"):
        evalpool("run", "program:run", *arguments, "--max-evals", "12", "--out", f"{name}.csv")
    one, two = (rows(evalpool.directory / f"{name}.csv") for name in ("one", "two"))
    assert [(r["p:x"], r["p:lr"], r["p:kind"]) for r in one] == [(r["p:x"], r["p:lr"], r["p:kind"]) for r in two]
    store = ["--storage", "sqlite:///runs.db"]
    evalpool("run", "program:run", *arguments, "--max-evals", "5", *store)
    evalpool("run", "program:run", *arguments, "--max-evals", "12", *store, "--resume", "--out", "three.csv")
    three = {(r["p:x"], r["p:lr"]) for r in rows(evalpool.directory / "three.csv")}
    assert three == {(r["p:x"], r["p:lr"]) for r in one}


def test_optuna_searches(evalpool: Command) -> None:
    pytest.importorskip("optuna")
    (evalpool.directory / "space.json").write_text('{"x": {"low": 0.0, "high": 9.0}}')
    arguments = [
        "--search",
        "optuna",
        "--space",
        "space.json",
        "--seed",
        "1",
        "--max-evals",
        "12",
        "--backend",
        "serial",
    ]
    done = evalpool("run", "program:run", *arguments, "--out", "out.csv", "--json", "--progress", "off")
    assert json.loads(done.stdout)["best"]["objective"] > 5
    assert done.stderr == ""


def test_a_run_of_which_nothing_succeeds_says_so_by_its_exit_code(evalpool: Command) -> None:
    evalpool("run", "program:fail", "--configs", "grid.jsonl", "--backend", "serial", "--out", "out.csv", code=3)


def test_a_run_out_of_time_says_so_by_its_exit_code(evalpool: Command) -> None:
    arguments = ["--configs", "grid.jsonl", "--timeout", "1s", "--out", "out.csv", "--progress", "lines"]
    done = evalpool("run", "program:hang", *arguments, code=4)
    assert "3 of 8" in done.stdout
    assert "3 of 8 evaluated" in done.stderr.splitlines()[-1]


def test_variables_of_the_environment_are_defaults(evalpool: Command) -> None:
    variables = {
        "EVALPOOL_STORAGE": "sqlite:///env.db",
        "EVALPOOL_BACKEND": "thread",
        "EVALPOOL_NUM_WORKERS": "3",
        "EVALPOOL_LOG_LEVEL": "debug",
    }
    evalpool("run", "program:run", "--configs", "grid.jsonl", "--progress", "off", **variables)
    done = evalpool("status", "--json", **variables)
    assert set(json.loads(done.stdout)["workers"]) <= {f"thread-{n}" for n in range(3)}
    wrong = evalpool(
        "run", "program:run", "--configs", "grid.jsonl", code=2, **{**variables, "EVALPOOL_NUM_WORKERS": "x"}
    )
    assert "'x' is not a whole number" in wrong.stderr


def test_what_the_run_function_logs_is_shown_with_its_job(evalpool: Command) -> None:
    arguments = ["--configs", "grid.jsonl", "--out", "out.csv", "--progress", "off", "--log-level", "info"]
    lines = evalpool("run", "program:chatty", *arguments).stderr.splitlines()
    assert [line.partition(" ")[2] for line in lines] == [f"INFO train [job 0.{x}]: x is {x}" for x in range(8)]
