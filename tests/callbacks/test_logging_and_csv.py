"""What the logger says about each job, and what the CSV file holds of it."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import pytest

from evalpool.backends import SerialEvaluator, ThreadPoolEvaluator
from evalpool.callbacks import CSVLoggerCallback, LoggerCallback
from evalpool.errors import BadArgument
from evalpool.tables._tables import read_table


def square(job: Any) -> Any:
    if job["x"] < 0:
        raise ValueError("negative\nand so on: " + str(job["x"]))
    if job["x"] == 0:
        return "F_zero"
    return float(job["x"] ** 2)


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == level and r.name == "evalpool"]


def test_the_log_has_id_objective_and_best_so_far(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "evalpool"):
        with SerialEvaluator(square, callbacks=[LoggerCallback()]) as evaluator:
            ids = [job.id for job in evaluator.submit([{"x": 2}, {"x": 3}, {"x": 1}])]
            evaluator.gather()
    assert messages(caplog, logging.INFO) == [
        f"[1] Job {ids[0]}: objective 4, best 4 (job {ids[0]})",
        f"[2] Job {ids[1]}: objective 9, best 9 (job {ids[1]})",
        f"[3] Job {ids[2]}: objective 1, best 9 (job {ids[1]})",
    ]


def test_a_failure_is_a_warning_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "evalpool"):
        with SerialEvaluator(square, callbacks=[LoggerCallback()]) as evaluator:
            first, second = evaluator.submit([{"x": -1}, {"x": 0}])
            evaluator.gather()
    assert messages(caplog, logging.WARNING) == [
        f"[1] Job {first.id} failed: F_ValueError (ValueError: negative and so on: -1)",
        f"[2] Job {second.id} failed: F_zero",
    ]


def test_several_objectives_are_logged_with_their_hypervolume(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "evalpool"):
        with SerialEvaluator(lambda job: (job["x"], job["y"]), callbacks=[LoggerCallback()]) as evaluator:
            evaluator.submit([{"x": 0, "y": 0}, {"x": 2, "y": 3}])
            evaluator.gather()
    assert [text.split(": ")[1] for text in messages(caplog, logging.INFO)] == [
        "objectives 0, 0, hypervolume 0",
        "objectives 2, 3, hypervolume 6",
    ]


def test_general_tasks_are_logged_with_their_output(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "evalpool"):
        with SerialEvaluator(lambda job: "x" * 1000, job_type="task", callbacks=[LoggerCallback()]) as evaluator:
            evaluator.submit([{}])
            evaluator.gather()
    (text,) = messages(caplog, logging.INFO)
    assert "output xxx" in text
    assert len(text) < 300


def test_a_job_cancelled_at_close_is_logged_as_such(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "evalpool"):
        evaluator = SerialEvaluator(square, callbacks=[LoggerCallback()])
        (job,) = evaluator.submit([{"x": 1}])
        evaluator.close()
    assert messages(caplog, logging.INFO) == [f"Job {job.id} was cancelled."]


def test_the_csv_file_has_a_row_per_job_after_every_gather(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    with SerialEvaluator(square, callbacks=[CSVLoggerCallback(path)]) as evaluator:
        evaluator.submit([{"x": -1}])
        evaluator.gather()
        assert [row["objective"] for row in read_table(path)] == ["F_ValueError"]
        evaluator.submit([{"x": 2}, {"x": 3}])
        evaluator.gather()
        rows = read_table(path)
    assert [row["p:x"] for row in rows] == [-1, 2, 3]
    assert [row["objective"] for row in rows] == ["F_ValueError", 4.0, 9.0]
    assert [row["job_id"] for row in rows] == [0, 1, 2]
    assert [row["job_status"] for row in rows] == ["FAILED", "DONE", "DONE"]
    for row in rows:
        assert row["m:timestamp_submit"] <= row["m:timestamp_start"] <= row["m:timestamp_end"]
        assert row["m:timestamp_end"] <= row["m:timestamp_gather"]
        assert row["m:worker"]


def test_metadata_of_the_run_function_has_columns_unless_private(tmp_path: Path) -> None:
    def run(job: Any) -> Any:
        return {"objective": 1.0, "metadata": {"epochs": job["x"], "_internal": 1}}

    path = tmp_path / "results.csv"
    with ThreadPoolEvaluator(run, num_workers=2, callbacks=[CSVLoggerCallback(path)]) as evaluator:
        evaluator.submit([{"x": 2}, {"x": 3}])
        evaluator.gather()
    rows = read_table(path)
    assert sorted(row["m:epochs"] for row in rows) == [2, 3]
    assert not any("internal" in name for row in rows for name in row)


def test_jobs_cancelled_at_close_are_in_the_table(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    evaluator = SerialEvaluator(square, callbacks=[CSVLoggerCallback(path)])
    evaluator.submit([{"x": 1}, {"x": 2}])
    evaluator.close()
    assert [row["objective"] for row in read_table(path)] == ["F_CANCELLED", "F_CANCELLED"]
    assert [row["job_status"] for row in read_table(path)] == ["CANCELLED", "CANCELLED"]


def test_general_tasks_have_their_own_columns(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    with SerialEvaluator(
        lambda job: {"mean": 1.5, "text": "=1+1"}, job_type="task", callbacks=[CSVLoggerCallback(path)]
    ) as evaluator:
        evaluator.submit([{"x": 1}])
        evaluator.gather()
    with open(path, newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["o:mean"], row["o:text"]) == ("1.5", "'=1+1")


def test_a_directory_that_is_not_there_is_said_at_construction(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="make it first"):
        CSVLoggerCallback(tmp_path / "no" / "results.csv")


def test_the_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CSVLoggerCallback().path == str(tmp_path / "results.csv")
