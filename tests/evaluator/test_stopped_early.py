"""A job that a stopper ended says so wherever it is looked at, and no other job does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, SerialEvaluator, profile, simulated
from evalpool.analysis import plot_objective_over_time
from evalpool.callbacks import CSVLoggerCallback
from evalpool.evaluator import MedianStopper
from evalpool.storage import SQLiteStorage
from evalpool.tables import read_table

RATES = [0.5, 0.9, 0.1, 0.2]
EARLY = [False, False, True, True]


def train(job: Any) -> float:
    for epoch in range(1, 11):
        job.record(epoch, job["rate"] * epoch / 10)
        if job.stopped():
            break
    return float(job.objective)


def never_asks(job: Any) -> float:
    for epoch in range(1, 10):
        job.record(epoch, job["rate"])
    return 5.0


def goes_on(job: Any) -> float:
    job.record(1, job["rate"])
    job.stopped()
    job.record(2, job["rate"])
    return 5.0


def evaluated(function: Any, method: str, **settings: Any) -> list[Any]:
    """One after the other, so that what the stopper compares is known."""
    with Evaluator.create(function, method, {"stopper": MedianStopper(max_steps=10), **settings}) as evaluator:
        jobs = []
        for rate in RATES:
            evaluator.submit([{"rate": rate}])
            jobs += evaluator.gather()
        assert [record.stopped_early for record in evaluator.results()] == [job.stopped_early for job in jobs]
        return jobs


@pytest.mark.parametrize(
    "method",
    [
        "serial",
        "thread",
        pytest.param("process", marks=pytest.mark.slow),
        pytest.param("isolated", marks=pytest.mark.slow),
    ],
)
def test_only_what_the_stopper_ended_is_marked(method: str) -> None:
    function = profile(memory=True)(train) if method == "isolated" else train
    jobs = evaluated(function, "thread" if method == "isolated" else method)
    assert [job.stopped_early for job in jobs] == EARLY
    assert {job.status.name for job in jobs} == {"DONE"}
    assert [job.stopped_early for job in evaluated(never_asks, "serial")] == [False] * 4
    assert [job.stopped_early for job in evaluated(goes_on, "serial")] == [False] * 4


def test_virtual_time_marks_the_same_jobs() -> None:
    def run(job: Any) -> dict[str, Any]:
        return {"objective": train(job), "runtime": 10.0}

    with simulated(SerialEvaluator)(run, num_workers=2, stopper=MedianStopper(max_steps=10)) as evaluator:
        jobs = []
        for rate in RATES:
            evaluator.submit([{"rate": rate}])
            jobs += evaluator.gather()
    assert [job.stopped_early for job in jobs] == EARLY


def test_the_mark_is_in_record_table_and_plot_and_such_a_job_is_never_the_best(tmp_path: Path) -> None:
    def run(job: Any) -> float:
        """What is stopped early has a large partial objective."""
        value = train(job)
        return 100.0 if job.stopped() and value < 0.5 else value

    with SQLiteStorage(tmp_path / "runs.db") as storage:
        jobs = evaluated(run, "serial", storage=storage, callbacks=[CSVLoggerCallback(tmp_path / "out.csv")])
        records = storage.results()
        with Evaluator.create(run, "serial", {"storage": storage, "search_id": "latest"}) as evaluator:
            evaluator.resume()
            assert [job.stopped_early for job in evaluator.gather()] == EARLY
            assert [job.args["rate"] for job in evaluator.best(9)] == [0.9, 0.5]
        storage.to_csv(tmp_path / "exported.csv")
    assert [record.stopped_early for record in records] == [job.stopped_early for job in jobs] == EARLY
    for table in ("out.csv", "exported.csv"):
        assert [row["m:stopped_early"] for row in read_table(tmp_path / table)] == EARLY
    for source in (records, jobs, tmp_path / "out.csv"):
        texts = plot_objective_over_time(source).get_legend_handles_labels()[1]
        assert texts == ["evaluation", "best so far: 0.9", "stopped early (2)"]


def test_without_a_stopper_there_is_no_such_column() -> None:
    with Evaluator.create(train, "serial") as evaluator:
        evaluator.submit([{"rate": 1.0}])
        (job,) = evaluator.gather()
        assert not job.stopped_early
        assert "m:stopped_early" not in evaluator.to_dataframe().columns


class SharedByStorage:
    """As those of deephyper: what jobs share is in the storage, under the id of its `job`."""

    def __init__(self) -> None:
        self.job: Any = None
        self.max_steps, self.step, self.objective = 10, 0, None

    def observe(self, budget: int, objective: float) -> None:
        self.step, self.objective = budget, objective
        self.job.storage.store_job_metadata(self.job.id, f"at_{budget}", objective)

    def stop(self) -> bool:
        search = self.job.id.split(".")[0]
        others = self.job.storage.load_metadata_from_all_jobs(search, f"at_{self.step}")
        assert self.job["rate"] >= 0
        return self.step >= self.max_steps or self.objective < max(others)


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_a_stopper_with_a_job_is_told_which_and_where_it_is_kept(method: str) -> None:
    prototype = SharedByStorage()
    with Evaluator.create(train, method, {"stopper": prototype}) as evaluator:
        jobs = []
        for rate in (0.5, 0.1, 0.9):
            evaluator.submit([{"rate": rate}])
            jobs += evaluator.gather()
        assert len(evaluator.storage.load_metadata_from_all_jobs(evaluator.search_id, "at_10")) == 2
    assert [job.stopped_early for job in jobs] == [False, True, False]
    assert prototype.job is None
