"""Each example is run as a user would, and judged by what it does."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from example_runs import ENVIRONMENT, EXAMPLES, command, run

pytestmark = pytest.mark.slow


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_every_example_says_what_it_shows_and_is_tested_here() -> None:
    tested = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text()
        assert text.startswith('"""'), path
        assert f"python examples/{path.name}" in text, path
        assert f'"{path.name}"' in tested, f"{path.name} has no test"


def test_the_demo_finds_a_good_classifier_and_leaves_table_and_plot(tmp_path: Path) -> None:
    done = subprocess.run(
        command("digits.py", "--quick"),
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    rows = table(tmp_path / "demo-results" / "results.csv")
    best = max(float(row["objective"]) for row in rows)
    assert len(rows) == 6
    assert best > 0.9
    assert len({row["m:worker"] for row in rows}) <= 2
    assert f"accuracy {best:.4f}" in done.stdout
    assert "kernel = " in done.stdout
    assert "6/6" in done.stderr  # the progress, as lines in what is no terminal
    png = (tmp_path / "demo-results" / "plot.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert len(png) > 10_000


def test_the_demo_keeps_what_is_there_when_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "demo-results" / "results.csv"
    pause = threading.Event()
    with subprocess.Popen(
        command("digits.py"), cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as demo:  # fmt: skip
        try:
            while not path.exists() or len(path.read_text().splitlines()) < 4:
                assert demo.poll() is None, demo.communicate()
                pause.wait(0.02)
            os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: the workers get it, too
            out, err = demo.communicate(timeout=60)
        finally:
            if demo.poll() is None:
                os.killpg(demo.pid, signal.SIGKILL)
    assert demo.returncode == 0, err
    assert "Interrupted: the results so far are kept." in out
    found = re.search(r"Best of (\d+) evaluations", out)
    assert found is not None
    rows = table(path)
    assert int(found[1]) == sum(row["job_status"] == "DONE" for row in rows) >= 3
    assert len(rows) < 40
    assert (tmp_path / "demo-results" / "plot.png").exists()


def test_optuna_searches_with_two_objectives(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    out = run("digits_optuna.py", tmp_path, "--quick")
    assert out.startswith("6 trials")
    assert len(re.findall(r"accuracy 0\.\d+,\s+\d+ nodes", out)) >= 1


def test_async_functions_wait_together(tmp_path: Path) -> None:
    serial, thread = run("async_io.py", tmp_path).splitlines()
    assert serial.startswith("serial: 20 requests")
    assert int(re.findall(r"most (\d+) at", serial)[0]) > 4
    assert int(re.findall(r"most (\d+) at", thread)[0]) in (2, 3, 4)


def test_each_gpu_is_lent_to_one_job_at_a_time(tmp_path: Path) -> None:
    out = run("gpu_ids.py", tmp_path)
    counts = [int(n) for n in re.findall(r"GPU \d: (\d+) jobs, one at a time", out)]
    assert len(counts) == 2
    assert sum(counts) == 10
    assert "F_MemoryError" in out


def test_failures_have_their_own_rows_and_the_others_their_results(tmp_path: Path) -> None:
    run("failures.py", tmp_path)
    results = [(row["p:behaviour"], row["job_status"], row["objective"]) for row in table(tmp_path / "failures.csv")]
    assert sorted(results) == sorted(
        [
            ("works", "DONE", "1.0"),
            ("raises", "FAILED", "F_ValueError"),
            ("crashes", "FAILED", "F_worker_died"),
            ("hangs", "FAILED", "F_timeout"),
            ("says so", "DONE", "F_diverged"),
            ("returns nonsense", "FAILED", "F_invalid_output"),
            ("works", "DONE", "1.0"),
            ("works", "DONE", "1.0"),
        ]
    )


def test_a_backend_of_ones_own_survives_a_crash_and_a_hang(tmp_path: Path) -> None:
    out = run("custom_backend.py", tmp_path).splitlines()
    assert out == [
        "x = 0: 0",
        "x = 1: 1",
        "x = 2: F_worker_died",
        "x = 3: F_CANCELLED",
        "x = 4: 16",
        "x = 5: 25",
        "4 results from 4 processes",
    ]


def test_halving_saves_most_epochs_and_little_accuracy(tmp_path: Path) -> None:
    out = run("early_stopping.py", tmp_path)
    found = re.search(r"saved (\d+)% of the epochs, (-?[\d.]+) of accuracy lost", out)
    assert found is not None, out
    assert int(found[1]) > 50
    assert float(found[2]) < 0.03
