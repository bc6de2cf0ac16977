"""The command where standard streams are closed, or cannot encode what is written."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cli.conftest import BOUND, Command

pytestmark = pytest.mark.slow

LOUD = """\
import os
def run(job):
    os.write(1, b"from C")
    print("printed \N{SNOWMAN}")
    return {"objective": job["x"], "metadata": {"name": "\N{SNOWMAN}"}}
"""
VIEWS = [
    ["status", "runs"],
    ["status", "runs", "--json"],
    ["show", "runs", "0.3"],
    ["watch", "runs"],
    ["export", "runs", "-o", "-"],
    ["plot", "runs", "--help"],
    ["doctor"],
]


@pytest.fixture
def runs(evalpool: Command) -> Command:
    (evalpool.directory / "loud.py").write_text(LOUD)
    (evalpool.directory / "grid.jsonl").write_text("".join(f'{{"x": {x}, "name": "\N{SNOWMAN}"}}\n' for x in range(4)))
    return evalpool


def closed(evalpool: Command, closing: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the command does below a shell that closes some of its streams."""
    command = ["sh", "-c", f'exec "$@" {closing}', "sh", sys.executable, "-m", "evalpool", *arguments]
    return subprocess.run(
        command, cwd=evalpool.directory, env=evalpool.environment, capture_output=True, text=True, timeout=BOUND
    )


@pytest.mark.parametrize(
    ("backend", "closing"),
    [
        *(("thread", closing) for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")),
        ("process", "2>&-"),
        ("process", "<&- >&- 2>&-"),
        ("serial", "<&- >&- 2>&-"),
    ],
)
def test_closed_streams_change_no_result(runs: Command, backend: str, closing: str) -> None:
    arguments = ["--configs", "grid.jsonl", "--backend", backend, "--storage", "journal:///runs", "--out", "o.csv"]
    done = closed(runs, closing, "run", "loud.py:run", *arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    records = [json.loads(line) for line in runs("export", "runs", "-o", "-").stdout.splitlines()]
    assert [record["objective"] for record in records] == [0, 1, 2, 3]
    for file in (runs.directory / "runs").rglob("*"):
        assert not file.is_file() or b"from C" not in file.read_bytes(), file


@pytest.mark.parametrize("backend", ["serial", "thread"])
def test_a_run_function_that_closes_the_standard_output_changes_no_result(runs: Command, backend: str) -> None:
    (runs.directory / "closes.py").write_text(
        "import sys\ndef run(job):\n    sys.stdout.close()\n    return job['x']\n"
    )
    arguments = ["closes.py:run", "--configs", "grid.jsonl", "--backend", backend, "--out", "o.csv"]
    assert "Traceback" not in runs("run", *arguments).stderr
    assert json.loads(runs("run", *arguments, "--json").stdout)["best"]["objective"] == 3


def test_closed_streams_break_no_view(runs: Command) -> None:
    runs("run", "loud.py:run", "--configs", "grid.jsonl", "--storage", "journal:///runs", "--progress", "off")
    for closing in (">&-", "2>&-"):
        for view in VIEWS:
            done = closed(runs, closing, *view)
            assert (done.returncode, "Traceback" in done.stderr) == (0, False), (closing, view, done.stderr)
    assert "no job 0.9" in closed(runs, ">&-", "show", "runs", "0.9").stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_streams_that_cannot_encode_a_character_get_an_escape_sequence(runs: Command, encoding: str) -> None:
    arguments = ["--configs", "grid.jsonl", "--storage", "journal:///runs", "--backend", "serial"]
    done = runs("run", "loud.py:run", *arguments, PYTHONIOENCODING=encoding)
    assert "\\u2603" in done.stdout
    for view in VIEWS:
        shown = runs(*view, PYTHONIOENCODING=encoding).stdout
        if view == ["show", "runs", "0.3"]:
            assert "\\u2603" in shown
        if view[0] == "export":
            assert [json.loads(line)["configuration"]["name"] for line in shown.splitlines()] == ["\N{SNOWMAN}"] * 4
    assert "?" in runs("show", "runs", "0.3", PYTHONIOENCODING=f"{encoding}:replace").stdout
