"""``evalpool run --resume``: beside others, and with what the search was begun with."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from evalpool.cli._campaign import Watcher
from evalpool.cli._origin import ORIGIN
from evalpool.storage import SQLiteStorage

pytestmark = pytest.mark.slow

BOUND = 90.0
FUNCTIONS = """
import os, threading

def f(job):
    with open("runs", "a") as file:
        file.write(f"{job['x']}\\n")
    threading.Event().wait(0.05)
    return float(job["x"])

def g(job):
    return 1000.0

def licensed(job):
    if not os.path.exists("licence"):
        raise OSError("no licence")
    return f(job)
"""


def start(directory: Path, *arguments: str, storage: str = "results.db") -> subprocess.Popen[str]:
    return command(directory, "run", *arguments, "--storage", storage)


def command(directory: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "evalpool", *words, "--progress", "off"]
    return subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(directory: Path, *arguments: str) -> tuple[int, str]:
    """The exit code and what was written to stderr."""
    with start(directory, *arguments) as process:
        _, errors = process.communicate(timeout=BOUND)
    return process.returncode, errors


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "f.py").write_text(FUNCTIONS)
    (tmp_path / "c.csv").write_text("x\n" + "".join(f"{x}\n" for x in range(40)))
    (tmp_path / "d.csv").write_text("y\n1\n2\n")
    (tmp_path / "space.json").write_text('{"x": {"low": 0, "high": 9}}')
    (tmp_path / "other.json").write_text('{"x": {"low": 0, "high": 99}}')
    return tmp_path


def test_programs_that_go_on_beside_a_living_one_evaluate_no_configuration_twice(directory: Path) -> None:
    arguments = ("f.py:f", "--configs", "c.csv", "--backend", "thread", "-n", "2")
    with start(directory, *arguments) as first:
        runs = directory / "runs"
        while not runs.exists():
            assert first.poll() is None
        with start(directory, *arguments, "--resume") as second, start(directory, *arguments, "--resume") as third:
            for process in (first, second, third):
                _, errors = process.communicate(timeout=BOUND)
                assert process.returncode == 0, errors
    assert sorted(map(int, runs.read_text().split())) == list(range(40))
    with SQLiteStorage(directory / "results.db") as storage:
        assert sorted(record.objective for record in storage.results()) == [float(x) for x in range(40)]


def test_another_function_file_or_space_is_refused_unless_it_is_forced(directory: Path) -> None:
    assert run(directory, "f.py:f", "--configs", "c.csv", "--backend", "thread", "-n", "40")[0] == 0
    with SQLiteStorage(directory / "results.db") as storage:
        origin = storage.load_search_value("0", ORIGIN)
    assert origin["function"] == "f.py:f"
    assert origin["path"] == str(directory / "f.py")
    assert origin["source"] == hashlib.sha256(FUNCTIONS.encode()).hexdigest()
    assert origin["configurations"] == str(directory / "c.csv")
    assert origin["versions"].keys() == {"evalpool", "python"}
    assert "--configs" in origin["command"]
    for arguments, named in (
        (("f.py:g", "--configs", "c.csv"), ("f.py:f", "f.py:g")),
        (("f.py:f", "--configs", "d.csv"), ("c.csv", "d.csv")),
        (("f.py:f", "--search", "random", "--space", "space.json", "--max-evals", "3"), ("configurations", "c.csv")),
    ):
        code, errors = run(directory, *arguments, "--resume")
        assert code == 2
        assert all(name in errors for name in (*named, "--force"))
        assert len((directory / "runs").read_text().split()) == 40
    (directory / "f.py").write_text(FUNCTIONS + "# mended\n")
    assert run(directory, "f.py:f", "--configs", "c.csv", "--resume")[0] == 0
    assert run(directory, "f.py:g", "--configs", "d.csv", "--resume", "--force")[0] == 0
    with SQLiteStorage(directory / "results.db") as storage:
        assert len(storage.results()) == 42
        assert storage.load_search_value("0", ORIGIN)["function"] == "f.py:g"


def test_another_space_is_refused(directory: Path) -> None:
    arguments = ("f.py:f", "--search", "random", "--max-evals", "3", "--backend", "thread", "--space")
    assert run(directory, *arguments, "space.json")[0] == 0
    code, errors = run(directory, *arguments, "other.json", "--resume")
    assert code == 2
    assert "space" in errors


def test_programs_that_retry_at_the_same_time_run_each_configuration_once(directory: Path) -> None:
    assert run(directory, "f.py:licensed", "--configs", "c.csv", "--backend", "serial")[0] == 3
    (directory / "licence").touch()
    words = ("retry", "results.db", "--failed", "--function", "f.py:licensed", "--backend", "serial")
    programs = [command(directory, *words) for _ in range(3)]
    for program in programs:
        with program:
            _, errors = program.communicate(timeout=BOUND)
        assert (program.returncode, errors) == (0, "")
    assert sorted(map(int, (directory / "runs").read_text().split())) == list(range(40))
    with SQLiteStorage(directory / "results.db") as storage:
        watcher = Watcher(storage)
        watcher.look()
        summary = watcher.campaigns["0"].summary()
    assert (summary["total"], summary["evaluated"], summary["jobs"]["failed"]) == (80, 80, 40)
