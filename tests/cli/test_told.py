"""What the command says of failures, of the best, and what it keeps apart or checks first."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cli.conftest import Command
from evalpool import RandomSearch, SerialEvaluator, optimize, simulated
from evalpool.callbacks import ProfilingCallback
from evalpool.cli._campaign import Watcher
from evalpool.storage import SQLiteStorage
from evalpool.tables import read_table

pytestmark = pytest.mark.slow

LOUD = """\
import os, subprocess, time
print("imported")
def run(job):
    print("epoch 1")
    os.write(1, b"from C\\n")
    subprocess.run(["echo", "from a program"])
    time.sleep(0.05)
    return job["x"]
def loss(job):
    return (job["x"] - 3) ** 2
"""

FILLS_A_DISK = """\
import resource
def run(job):
    if job["x"] == 30:  # from now on, as on a full disk, no file grows beyond this
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    if job["x"] == 59:
        return {"objective": 0.0, "metadata": {"late": 1}}
    return {"objective": float(job["x"]), "metadata": {"pad": "p" * 400}}
"""
REMOVES_THE_DIRECTORY = """\
import shutil
def run(job):
    if job["x"] == 4:
        shutil.rmtree("results")
    return job["x"]
"""


@pytest.fixture
def loud(evalpool: Command) -> Command:
    (evalpool.directory / "loud.py").write_text(LOUD)
    return evalpool


@pytest.mark.parametrize("backend", ["serial", "thread", "process"])
def test_what_is_printed_is_no_part_of_the_json(loud: Command, backend: str) -> None:
    arguments = ["--configs", "grid.jsonl", "--backend", backend, "--out", "out.csv", "--progress", "off", "--json"]
    done = loud("run", "loud.py:run", *arguments)
    assert json.loads(done.stdout)["evaluated"] == 8
    for text in ("imported", "epoch 1", "from C", "from a program"):
        assert text in done.stderr


def in_a_narrow_terminal(evalpool: Command, *arguments: str) -> str:
    """What a terminal of 60 columns shows in the end."""
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 60, 0, 0))
    environment = {**evalpool.environment, "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "evalpool", *arguments], cwd=evalpool.directory, env=environment,
        stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(master)
    process.wait(30)
    return b"".join(parts).decode()


def test_prints_go_above_the_live_view_and_60_columns_suffice(loud: Command) -> None:
    pytest.importorskip("rich")
    shown = in_a_narrow_terminal(loud, "run", "loud.py:run", "--configs", "grid.jsonl", "--out", "out.csv")
    assert shown.count("from a program") == shown.count("epoch 1") == shown.count("from C") == 8
    failing = in_a_narrow_terminal(loud, "run", "program:run", "--configs", "grid.jsonl", "--out", "out.csv")
    last = failing[failing.rindex("╭") : failing.rindex("╯")].replace("│", "")
    text = " ".join(last.split())
    for part in ("7 succeeded", "1 failed", "job 0.5: x=5", "raised 1", "ValueError: three", "(program.py:"):
        assert part in text


def test_a_failure_is_shown_with_its_reason_and_its_place(evalpool: Command) -> None:
    arguments = ["--configs", "grid.jsonl", "--storage", "sqlite:///runs.db", "--progress", "lines"]
    done = evalpool("run", "program:run", *arguments)
    reason = "job 0.3: ValueError: three <script>document.title = 'pwned'</script> �[31m (program.py:"
    assert reason in done.stdout
    assert reason in done.stderr
    for command in ("status", "watch"):
        assert reason in evalpool(command, "runs.db").stdout
    shown = evalpool("show", "runs.db", "0.3").stdout
    assert "Traceback (most recent call last):" in shown
    assert "\x1b" not in shown
    assert json.loads(evalpool("show", "runs.db", "5", "--json").stdout)["objective"] == 10
    assert "jobs up to 0.7" in evalpool("show", "runs.db", "0.8", code=1).stderr
    assert "JOB is 'x'" in evalpool("show", "runs.db", "x", code=2).stderr


def test_a_search_whose_first_evaluations_all_fail_ends(evalpool: Command) -> None:
    arguments = ["--configs", "grid.jsonl", "--out", "out.csv", "--max-failures", "3", "--progress", "off"]
    done = evalpool("run", "program:fail", *arguments, code=3)
    assert "the first 3 evaluations all failed (--max-failures 3)" in done.stderr
    assert "state       ended" in done.stdout  # it waits for nobody
    assert len(read_table(evalpool.directory / "out.csv")) < 8
    assert read_table(evalpool.directory / "out.csv")[0]["m:error"] == "RuntimeError: always"
    evalpool("run", "program:run", *arguments)  # one that fails behind one that succeeded ends nothing
    assert len(read_table(evalpool.directory / "out.csv")) == 8


def test_failures_of_earlier_runs_end_no_later_one(evalpool: Command) -> None:
    program = evalpool.directory / "corrected.py"
    options = ["--backend", "serial", "--progress", "off", "--json", "--max-failures"]
    program.write_text("def run(job):\n    raise ValueError('there is a mistake in it')\n")
    arguments = ["run", "corrected.py:run", "--configs", "grid.jsonl", "--storage", "sqlite:///own.db", *options, "3"]
    jobs = json.loads(evalpool(*arguments, code=3).stdout)["jobs"]
    assert (jobs["failed"], jobs["succeeded"]) == (3, 0)
    program.write_text("def run(job):\n    return job['x']\n")
    jobs = json.loads(evalpool(*arguments, "--resume").stdout)["jobs"]
    assert (jobs["failed"], jobs["succeeded"]) == (3, 5)
    again = ["retry", "own.db", "--failed", "--function", "corrected.py:run", *options, "1"]
    jobs = json.loads(evalpool(*again).stdout)["jobs"]
    assert (jobs["failed"], jobs["succeeded"]) == (3, 8)


def test_a_table_that_lacks_rows_is_a_failure_and_says_so_once(evalpool: Command) -> None:
    (evalpool.directory / "long.py").write_text(FILLS_A_DISK)
    (evalpool.directory / "many.jsonl").write_text("".join(f'{{"x": {x}}}\n' for x in range(60)))
    arguments = ["--configs", "many.jsonl", "--backend", "serial", "--out", "out.csv", "--progress", "off"]
    done = evalpool("run", "long.py:run", *arguments, code=1, TMPDIR=str(evalpool.directory))
    rows = len(read_table(evalpool.directory / "out.csv"))
    assert 0 < rows < 60
    missing = f"{60 - rows} of 60 rows are missing in {evalpool.directory / 'out.csv'}"
    assert f"evalpool: {missing}. " in done.stderr
    assert f"table       {missing}" in done.stdout
    assert done.stderr.count("cannot be written") == 1  # and not at each of the later gathers
    assert "File too large: " in done.stderr
    assert "They are lost, for they could not be written elsewhere, either" in done.stderr


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_results_that_cannot_be_written_in_their_place_are_written_elsewhere(evalpool: Command, name: str) -> None:
    (evalpool.directory / "gone.py").write_text(REMOVES_THE_DIRECTORY)
    (evalpool.directory / "results").mkdir()
    arguments = ["--configs", "grid.jsonl", "--backend", "serial", "--out", f"results/{name}", "--progress", "off"]
    done = evalpool("run", "gone.py:run", *arguments, code=1, TMPDIR=str(evalpool.directory))
    assert str(evalpool.directory / "results") in done.stderr
    (found,) = evalpool.directory.glob(f"evalpool-*/{name}")
    assert f"All results were written to {found}" in done.stderr
    rows = read_table(found) if name == "out.csv" else found.read_text().splitlines()
    assert len(rows) == 8
    (evalpool.directory / "results").mkdir()
    done = evalpool("run", "gone.py:run", *arguments, "--storage", "journal:///runs", code=1)
    assert "The store has all of them: evalpool export journal:///runs --search-id 0 -o FILE" in done.stderr
    evalpool("export", "journal:///runs", "--search-id", "0", "-o", "all.csv")
    assert len(read_table(evalpool.directory / "all.csv")) == 8


def test_an_export_to_a_full_disk_names_the_file(evalpool: Command) -> None:
    import resource

    evalpool("run", "program:run", "--configs", "grid.jsonl", "--storage", "journal:///runs", "--progress", "off")
    process = evalpool.start(
        "export", "runs", "-o", "out.jsonl", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    )
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"File too large: '{evalpool.directory / 'out.jsonl'}'" in error
    assert not (evalpool.directory / "out.jsonl").exists()


def test_the_smallest_is_the_best_where_the_search_says_so(loud: Command) -> None:
    store = ["--storage", "sqlite:///runs.db", "--progress", "off"]
    done = loud("run", "loud.py:loss", "--configs", "grid.jsonl", "--minimize", *store)
    for out in (done.stdout, loud("status", "runs.db").stdout):
        assert "best        0, the smallest  job 0.3: x=3" in out
    with SQLiteStorage(loud.directory / "runs.db") as storage:
        with SerialEvaluator(lambda job: 0.0, storage=storage, search_id="latest") as evaluator:
            assert [job.objective for job in evaluator.best(3)] == [0, 1, 1]
    loud("run", "loud.py:loss", "--configs", "grid.jsonl", *store)
    refused = loud("run", "loud.py:loss", "--configs", "grid.jsonl", "--resume", "--minimize", *store, code=2)
    assert "begun without --minimize" in refused.stderr


def test_what_a_table_needs_is_checked_before_anything_is_evaluated(evalpool: Command) -> None:
    (evalpool.directory / "pandas.py").write_text("raise ImportError('no pandas here')")
    arguments = ["--configs", "grid.jsonl", "--out", "out.parquet", "--progress", "off"]
    source = evalpool.environment["PYTHONPATH"]
    done = evalpool("run", "program:run", *arguments, code=1, PYTHONPATH=f"{evalpool.directory}:{source}")
    assert 'pip install ".[pandas]" in a clone' in done.stderr
    assert evalpool.calls == []


@pytest.mark.parametrize(
    ("name", "text"), [("grid.csv", "x,y,x\n1,2,3\n"), ("t.csv", "p:x,p:x\n1,2\n"), ("g.jsonl", '{"x": 1, "x": 2}\n')]
)
def test_a_name_that_is_there_twice_is_refused(evalpool: Command, name: str, text: str) -> None:
    (evalpool.directory / name).write_text(text)
    assert "'x'" in evalpool("run", "program:run", "--configs", name, "--out", "o.csv", code=2).stderr


def test_watch_and_serve_wait_for_a_store(evalpool: Command) -> None:
    import urllib.request

    watching = evalpool.start("watch", "runs.db", "--json", "--interval", "0.05")
    serving = evalpool.start("serve", "runs.db")
    assert watching.stderr is not None
    assert serving.stdout is not None
    assert "waiting for runs.db" in watching.stderr.readline()
    url = serving.stdout.readline().strip()
    assert not (evalpool.directory / "runs.db").exists()
    evalpool("run", "program:run", "--configs", "grid.jsonl", "--storage", "sqlite:///runs.db", "--progress", "off")
    out, _ = watching.communicate(timeout=30)
    assert json.loads(out.splitlines()[-1])["evaluated"] == 8
    pause = threading.Event()
    for _ in range(200):
        with urllib.request.urlopen(url + "rows?after=0", timeout=30) as answer:
            if json.load(answer)["search"] == "0":
                break
        pause.wait(0.05)
    else:
        raise AssertionError("the page never had the search")
    serving.terminate()
    serving.communicate(timeout=30)


def test_virtual_workers_are_lanes_of_their_own(tmp_path: Path) -> None:
    profile = ProfilingCallback()
    with SQLiteStorage(tmp_path / "runs.db") as storage:
        settings = {"num_workers": 30, "storage": storage, "seed": 0, "callbacks": [profile]}
        function = simulated(SerialEvaluator)
        with function(lambda job: {"objective": job["x"], "runtime": 60 + job["x"]}, **settings) as evaluator:
            optimize(evaluator, RandomSearch({"x": (0.0, 1.0)}, seed=0), max_evals=90)
        watcher = Watcher(storage)
        watcher.look()
        (campaign,) = watcher.campaigns.values()
    names = {f"virtual-{number}" for number in range(30)}
    assert set(campaign.summary()["workers"]) == {interval.worker for interval in profile.intervals} == names
