"""status, watch, export, plot, retry: what they say of a search in a real storage."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from cli.conftest import Command
from cli.test_run import rows, wait_for_calls
from evalpool.storage import SQLiteStorage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a search that has ended."""
    evalpool = Command(tmp_path_factory.mktemp("ended"))
    arguments = ["--configs", "grid.jsonl", "--backend", "thread", "--progress", "off"]
    evalpool("run", "program:run", *arguments, "--storage", "sqlite:///runs.db")
    return evalpool.directory / "runs.db"


@pytest.fixture
def finished(evalpool: Command, ended: Path) -> Command:
    """A directory with runs.db, in which a search has ended."""
    shutil.copy(ended, evalpool.directory)
    return evalpool


def test_watch_follows_a_search_to_its_end_in_every_storage(evalpool: Command, store: str) -> None:
    arguments = ["--configs", "grid.jsonl", "-n", "2", "--storage", store, "--progress", "off"]
    process = evalpool.start("run", "program:hang", *arguments)
    wait_for_calls(evalpool, process, 5)
    watching = evalpool.start("watch", store, "--json", "--interval", "0.05")
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    (evalpool.directory / "go").touch()
    lines = [first, *map(json.loads, watching.stdout)]
    process.communicate(timeout=30)
    watching.communicate(timeout=30)
    assert process.returncode == watching.returncode == 0
    assert first["state"] == "running"
    assert first["total"] == 8
    assert lines[-1]["jobs"]["succeeded"] == 8
    assert [line["evaluated"] for line in lines] == sorted(line["evaluated"] for line in lines)
    assert len(lines) > 1


def test_status_says_how_a_search_stands(finished: Command) -> None:
    out = finished("status", "runs.db").stdout
    for text in ("runs.db: search 0", "ended", "8 of 8, 1 failed", "10  job 0.5: x=5", "raised 1  (F_ValueError 1)"):
        assert text in out
    assert "\x1b" not in out


def test_a_result_cannot_write_to_the_terminal(finished: Command) -> None:
    with sqlite3.connect(finished.directory / "runs.db") as db:
        db.execute("UPDATE events SET data = replace(data, 'F_ValueError', 'F_\\u001b[2J') WHERE kind = 'finished'")
    db.close()
    assert "F_�[2J 1" in finished("status", "runs.db").stdout


def test_export_writes_each_kind_of_file(finished: Command) -> None:
    finished("export", "runs.db", "-o", "out.csv")
    finished("export", "sqlite:///runs.db", "-o", "out.jsonl", "--search-id", "0")
    assert [row["objective"] for row in rows(finished.directory / "out.csv")][3:6] == ["F_ValueError", "9", "10"]
    written = [json.loads(line) for line in (finished.directory / "out.jsonl").read_text().splitlines()]
    printed = [json.loads(line) for line in finished("export", "runs.db", "-o", "-").stdout.splitlines()]
    assert written == printed
    assert printed[3]["error"].startswith("Traceback")
    wrong = finished("export", "runs.db", "-o", "out.csv", "--search-id", "7", code=1)
    assert wrong.stderr.startswith("evalpool export: no search '7'")


def test_export_writes_to_devices_and_pipes_without_replacing_them(finished: Command) -> None:
    printed = finished("export", "runs.db", "-o", "-").stdout
    assert finished("export", "runs.db", "-o", "/dev/stdout").stdout == printed  # a pipe here
    finished("export", "runs.db", "-o", os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    wrong = finished("export", "runs.db", "-o", "results", code=2)
    assert "'results'; give a file that ends with .csv" in wrong.stderr


def test_whoever_reads_only_the_first_line_gets_it(finished: Command) -> None:
    process = finished.start("export", "runs.db", "-o", "-")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["number"] == 0
    process.stdout.close()
    process.wait(30)
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_plot_draws_a_picture(finished: Command) -> None:
    image = pytest.importorskip("matplotlib.image")
    finished("plot", "runs.db", "-o", "workers.png", "--kind", "workers")
    picture = image.imread(finished.directory / "workers.png")
    assert picture.shape[:2] == (630, 1200)
    colours = picture[..., :3]
    assert 0.01 < (colours.min(axis=2) < 0.9).mean() < 0.9, "axes and texts alone are 0.012"
    # How wide the bars are goes by how long the workers took to start, which is long on a busy machine.
    assert ((colours.max(axis=2) - colours.min(axis=2)) > 0.3).any(), "no bar, which has a colour"


def test_what_failed_is_run_again_in_the_same_search(finished: Command) -> None:
    asked = finished("retry", "runs.db", "--failed", code=2)
    assert "begun with program:run, so if you trust it: evalpool retry runs.db --failed --function" in asked.stderr
    asked = finished("retry", "runs.db", "--search-id", "0", "--cancelled", "--failed", "--tag", "a b", code=2)
    advised = "evalpool retry runs.db --search-id 0 --failed --cancelled --tag 'a b' --function program:run"
    assert advised in " ".join(asked.stderr.split())
    code = "def run(job):\n    return job['x'] * 100\n"
    (finished.directory / "better.py").write_text(code)
    arguments = ["--failed", "--function", "better:run", "--backend", "serial", "--progress", "off", "--json"]
    refused = finished("retry", "runs.db", *arguments, code=2).stderr
    assert "begun with the function program:run, and this command has the function better:run" in refused
    assert "--force" in refused
    arguments.append("--force")
    summary = json.loads(finished("retry", "runs.db", *arguments).stdout)
    assert summary["best"] == {"job_id": "0.8", "objective": 300, "configuration": {"x": 3}}
    assert summary["evaluated"] == summary["total"] == 9
    assert json.loads(finished("retry", "runs.db", *arguments).stdout) == {"search_id": "0", "retried": 0}


def test_what_failed_is_run_again_by_the_function_that_was_mended_in_its_file(finished: Command) -> None:
    program = finished.directory / "program.py"
    program.write_text(program.read_text().replace('job["x"] == 3', "False"))
    origin = {"function": "program:run", "path": str(program), "source": "0", "configurations": "/c", "digest": "0"}
    with SQLiteStorage(finished.directory / "runs.db") as storage:
        storage.store_search_value("0", "origin", origin)
    finished("retry", "runs.db", "--failed", "--function", "program.py:run", "--progress", "off")


def test_a_retry_of_which_nothing_succeeds_says_so(finished: Command) -> None:
    arguments = ["--failed", "--function", "program:fail", "--backend", "serial", "--progress", "off", "--force"]
    finished("retry", "runs.db", *arguments, code=3)


def test_doctor_tells_what_works_and_keeps_passwords(evalpool: Command) -> None:
    arguments = ["doctor", "--backend", "process", "--backend", "thread"]
    out = evalpool(*arguments, EVALPOOL_STORAGE="redis://me:secret@127.0.0.1:1/0").stdout
    assert "process   works" in out
    assert "thread    works" in out
    assert "EVALPOOL_STORAGE=redis://...@127.0.0.1:1/0" in out
    assert "secret" not in out
    report = json.loads(evalpool(*arguments[:3], "--json").stdout)
    assert report["backends"]["process"]["works"] is True
    assert report["versions"]["numpy"]
    assert report["cpus"]["usable"] >= 1


def test_doctor_has_an_exit_code_for_a_backend_that_does_not_work(evalpool: Command) -> None:
    (evalpool.directory / "sitecustomize.py").write_text("import sys; sys.modules['mpi4py'] = None\n")
    path = os.pathsep.join([str(evalpool.directory), evalpool.environment["PYTHONPATH"]])
    done = evalpool("doctor", "--backend", "mpi", code=1, PYTHONPATH=path)
    assert 'pip install "evalpool[mpi]"' in done.stdout
