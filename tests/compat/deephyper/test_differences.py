"""The rows of docs/coming-from/deephyper.md that say what is different here; the others are in `test_evaluators.py`."""

from __future__ import annotations

import csv
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalpool.compat.deephyper.evaluator import (
    Evaluator,
    HPOJob,
    JobStatus,
    ProcessPoolEvaluator,
    SerialEvaluator,
    ThreadPoolEvaluator,
    profile,
    queued,
)
from evalpool.compat.deephyper.evaluator.callback import CSVLoggerCallback
from evalpool.compat.deephyper.evaluator.storage import MemoryStorage, SharedMemoryStorage
from evalpool.errors import NotJSON


def x_of(job: Any) -> Any:
    return job["x"]


def hpo(run: Any, method: str = "thread", **kwargs: Any) -> Any:
    evaluator = Evaluator.create(run, method, kwargs)
    evaluator._job_class = HPOJob
    return evaluator


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_job_alone() -> None:
    def run(job: Any) -> Any:
        if job["x"] == 1:
            os._exit(3)
        return job["x"]

    with hpo(run, "process") as evaluator:
        evaluator.submit([{"x": x} for x in range(3)])
        jobs = sorted(evaluator.gather("ALL"), key=lambda job: job.id)
        assert [job.objective for job in jobs] == [0, "F_worker_died", 2]
        assert [job.status for job in jobs] == [JobStatus.DONE] * 3


def test_work_begins_at_submit() -> None:
    begun = threading.Event()
    with ThreadPoolEvaluator(lambda job: begun.set()) as evaluator:
        evaluator.submit([{}])
        assert begun.wait(10)
        evaluator.gather("ALL")


def test_the_class_of_serial_refuses_plain_functions_and_create_takes_them() -> None:
    with pytest.raises(ValueError, match="takes coroutine functions"):
        SerialEvaluator(x_of)
    begun: list[int] = []
    with Evaluator.create(lambda job: begun.append(1), "serial") as evaluator:
        evaluator.submit([{}])
        assert begun == []
        evaluator.gather("ALL")
        assert begun == [1]
        assert evaluator.to_json()["type"] == "SerialEvaluator"


def test_nan_in_a_tuple_is_a_failure() -> None:
    with hpo(lambda job: (1.0, float("nan"))) as evaluator:
        evaluator.submit([{}])
        assert evaluator.gather("ALL")[0].objective == "F_invalid_output"


def test_the_end_of_with_closes_the_evaluator() -> None:
    def run(job: Any) -> None:
        while not job.stopped():
            time.sleep(0.001)

    with hpo(run) as evaluator:
        (job,) = evaluator.submit([{}])
    assert job.status is JobStatus.CANCELLED


@pytest.mark.slow
def test_a_job_that_never_looks_is_stopped_two_seconds_after_the_budget() -> None:
    def run(job: Any) -> float:
        return 1.0 if threading.Event().wait(job["seconds"]) else 0.0

    with hpo(run, "process") as evaluator:
        evaluator.submit([{"seconds": 0}])
        evaluator.gather("ALL")  # the worker is there
        evaluator.timeout = 0.1
        evaluator.submit([{"seconds": 60}])
        (job,) = evaluator.gather("ALL")
        assert (job.status, job.objective) == (JobStatus.CANCELLED, "F_CANCELLED")


def test_a_budget_ends_with_its_search() -> None:
    evaluator = hpo(x_of, "serial")
    evaluator.timeout = 1e-3
    evaluator.close()
    assert (evaluator.timeout, evaluator.time_left) == (None, None)
    evaluator.submit([{"x": 1}])
    assert evaluator.gather("ALL")[0].objective == 1
    evaluator.close()


@pytest.mark.slow
def test_a_memory_storage_is_filled_by_processes_and_out_of_their_reach() -> None:
    def run(job: Any) -> Any:
        assert job.storage.is_connected()
        return job.storage.load_all_search_ids() if job["x"] else 1

    storage = MemoryStorage()
    with ProcessPoolEvaluator(run, storage=storage) as evaluator:
        evaluator.submit([{"x": 0}, {"x": 1}])
        done, failed = sorted(evaluator.gather("ALL"), key=lambda job: job.id)
    assert (done.output, failed.output) == (1, "F_NotShareable")
    assert "SharedMemoryStorage(), which run-functions in processes reach" in failed.error
    assert storage.load_job("0.0")["out"] == 1


def test_what_is_kept_for_other_processes_is_json() -> None:
    storage = SharedMemoryStorage()
    job = storage.create_new_job(storage.create_new_search())
    storage.store_job_out(job, np.arange(3))
    assert storage.load_job(job)["out"] == [0, 1, 2]
    with pytest.raises(NotJSON, match="out"):
        storage.store_job_out(job, object())
    storage.close()
    memory, anything = MemoryStorage(), object()
    with ThreadPoolEvaluator(lambda job: job["x"] is anything, storage=memory) as evaluator:
        evaluator.submit([{"x": anything}])
        assert evaluator.gather("ALL")[0].output is True


def test_the_table_takes_columns_that_come_later_and_searches_that_follow(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    evaluator = hpo(
        lambda job: {"objective": 1.0, "metadata": {"late": 1} if job["x"] else {}},
        callbacks=[CSVLoggerCallback(str(path))],
    )
    for x in range(3):
        evaluator.submit([{"x": x}])
        evaluator.gather("ALL")
        with path.open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == x + 1
        if x == 1:
            evaluator.close()  # a second search
    evaluator.close()
    assert [row["m:late"] for row in rows] == ["", "1", "1"]
    assert "m:worker" not in rows[0]


@pytest.mark.slow
def test_a_limit_of_memory_implies_measuring() -> None:
    @profile(memory_limit=50_000_000)
    def run(job: Any) -> int:
        return len(bytearray(200_000_000))

    with hpo(run, "serial") as evaluator:
        evaluator.submit([{}])
        assert evaluator.gather("ALL")[0].objective == "F_memory_limit_exceeded"


def test_the_queue_holds_what_is_lent_too() -> None:
    seen: list[int] = []
    with queued(ThreadPoolEvaluator)(
        lambda job, dequed: seen.append(len(evaluator.queue)), 1, queue=[1, 2]
    ) as evaluator:
        evaluator.submit([{}])
        evaluator.gather("ALL")
    assert seen == [2]


class Halving:
    """As deephyper's stoppers: with a job."""

    job: Any = None
    max_steps = 10
    objective = 5.0
    step = 0

    def observe(self, budget: float, objective: float) -> None:
        self.step = int(budget)
        self.job.storage.store_job_metadata(self.job.id, "_seen", objective)

    def stop(self) -> bool:
        return self.step >= 2


@pytest.mark.parametrize("method", ["serial", "thread", pytest.param("process", marks=pytest.mark.slow)])
def test_a_stopper_with_a_job_decides_beside_the_evaluator(method: str) -> None:
    def run(job: Any) -> float:
        for step in range(1, 9):
            job.record(step, float(step))
            if job.stopped():
                break
        return float(job.objective)

    evaluator = hpo(run, method)
    evaluator._stopper = Halving()
    evaluator.submit([{}])
    (job,) = evaluator.gather("ALL")
    assert (job.objective, job.status) == (2.0, JobStatus.DONE)
    assert evaluator._storage.load_metadata_from_all_jobs("0", "_seen") == [2.0]
    evaluator.close()
