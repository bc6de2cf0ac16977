"""Callbacks of a search that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, RunningJob, optimize
from evalpool.callbacks import Callback, CSVLoggerCallback
from evalpool.storage import Storage, storage_from_url
from evalpool.tables._tables import read_table
from resume.processes import program
from resume.searches import Optimizer

pytestmark = pytest.mark.slow


def run(job: RunningJob) -> float:
    if job["x"] == 1:
        raise ValueError("one")
    return float(job["x"])


class Watcher(Callback):
    """Notes the numbers of the jobs that each hook was given."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.gathered: list[int] = []
        self.restored: list[int] = []
        self.others: list[int] = []

    def on_done(self, job: Any) -> None:
        self.done.append(job.number)
        if job.metadata.get("restored"):
            self.restored.append(job.number)

    def on_done_other(self, job: Any) -> None:
        self.others.append(job.number)

    def on_gather(self, local_jobs: list[Any], other_jobs: list[Any]) -> None:
        self.gathered += [job.number for job in [*local_jobs, *other_jobs]]


def _begin(storage: Storage) -> None:
    with Evaluator.create(run, "thread", {"storage": storage}) as evaluator:
        evaluator.submit([{"x": x} for x in range(4)])
        evaluator.gather()


def test_a_restored_job_is_done_once_and_gathered_once(durable: Storage) -> None:
    _begin(durable)
    watcher = Watcher()
    settings = {"storage": durable, "search_id": "latest", "callbacks": [watcher]}
    with Evaluator.create(run, "thread", settings) as evaluator:
        evaluator.resume()
        optimize(evaluator, Optimizer(), 6)
    assert sorted(watcher.done) == list(range(6))
    assert sorted(watcher.restored) == list(range(4))
    assert sorted(watcher.gathered) == list(range(6))
    assert watcher.others == []


def test_the_table_of_a_resumed_search_is_complete(durable: Storage, tmp_path: Path) -> None:
    _begin(durable)
    path = tmp_path / "results.csv"
    settings = {"storage": durable, "search_id": "latest", "callbacks": [CSVLoggerCallback(path)]}
    with Evaluator.create(run, "thread", settings) as evaluator:
        evaluator.resume()
        optimize(evaluator, Optimizer(), 6)
    rows = sorted(read_table(path), key=lambda row: row["job_id"])
    assert [row["job_id"] for row in rows] == list(range(6))
    assert [row["objective"] for row in rows[:4]] == [0.0, "F_ValueError", 2.0, 3.0]
    assert [row.get("m:restored", False) for row in rows] == [True] * 4 + [False] * 2
    for name in ("submit", "start", "end", "gather"):
        assert all(isinstance(row[f"m:timestamp_{name}"], float) for row in rows), name
    assert rows[3]["m:timestamp_end"] < rows[4]["m:timestamp_submit"]


def test_the_table_of_a_search_that_was_killed_is_complete(url: str, tmp_path: Path) -> None:
    """What nobody had gathered has a time of its gathering as well, in the table and in the records."""
    with program("think", url, "thread") as thinking:
        for _ in range(20):
            thinking.expect("finished")
        thinking.kill()
    path = tmp_path / "results.csv"
    with storage_from_url(url) as storage:
        settings = {"storage": storage, "search_id": "latest", "callbacks": [CSVLoggerCallback(path)]}
        with Evaluator.create(run, "thread", settings) as evaluator:
            again = evaluator.resume()
            jobs = evaluator.gather()
            records = evaluator.results()
        restored = [job for job in jobs if job.metadata.get("restored")]
        assert len(restored) == 5000 - again
        rows = read_table(path)
        assert sorted(row["job_id"] for row in rows) == list(range(5000))
        for row in rows:
            assert isinstance(row["m:timestamp_gather"], float)
        assert all(record.timestamp_gather is not None for record in records)


def test_jobs_of_others_are_in_the_table_once(durable: Storage, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    with Evaluator.create(run, "thread", {"storage": durable}) as first:
        settings = {"storage": durable, "search_id": "latest", "callbacks": [CSVLoggerCallback(path)]}
        with Evaluator.create(run, "thread", settings) as second:
            first.submit([{"x": 0}, {"x": 1}])
            first.gather()
            second.submit([{"x": 2}])
            second.gather()
            second.gather_other_jobs_done()
            second.gather_other_jobs_done()
    assert sorted(row["job_id"] for row in read_table(path)) == [0, 1, 2]
