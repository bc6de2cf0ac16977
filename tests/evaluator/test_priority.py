"""Of several jobs that wait, those of the highest priority go next; then those that are run again."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from evalpool import Evaluator, JobStatus, Submission

STARTED: list[int] = []
GATE = threading.Event()


def run(job: Any) -> float:
    if job["x"] == 0:
        assert GATE.wait(30)
    STARTED.append(job["x"])
    if job["x"] == 9 and STARTED.count(9) == 1:
        raise ValueError("the first time")
    return float(job["x"])


@pytest.mark.parametrize("method", ["serial", "thread"])
def test_jobs_start_by_priority_then_retries_then_in_order(method: str) -> None:
    STARTED.clear()
    GATE.clear()
    with Evaluator.create(run, method, {"num_workers": 1, "retries": 1}) as evaluator:
        evaluator.submit([{"x": 0}])
        evaluator.submit([{"x": 1}, Submission({"x": 2}, priority=-1), Submission({"x": 3}, priority=5)])
        evaluator.submit([{"x": 4}, Submission({"x": 9}, priority=7), Submission({"x": 5}, priority=5)])
        GATE.set()
        jobs = evaluator.gather("ALL")
    assert STARTED == [0, 9, 9, 3, 5, 1, 4, 2]
    assert all(job.status is JobStatus.DONE for job in jobs)


def test_a_retry_goes_behind_jobs_of_higher_priority() -> None:
    STARTED.clear()
    GATE.set()
    with Evaluator.create(run, "serial", {"retries": 1}) as evaluator:
        evaluator.submit([{"x": 9}])  # it has the slot
        evaluator.submit([{"x": 1}, Submission({"x": 2}, priority=1)])
        evaluator.gather("ALL")
    assert STARTED == [9, 2, 9, 1]


@pytest.mark.slow
def test_a_job_of_high_priority_overtakes_those_that_were_not_prefetched_yet() -> None:
    with Evaluator.create(wait_a_little, "process", {"num_workers": 1}) as evaluator:
        evaluator.submit([{"x": -1}])
        evaluator.gather()
        *_, last = evaluator.submit([{"x": x} for x in range(12)])
        (important,) = evaluator.submit([Submission({"x": 99}, priority=1)])
        evaluator.gather("ALL")
    assert important.metadata["timestamp_start"] < last.metadata["timestamp_start"]


def wait_a_little(job: Any) -> float:
    threading.Event().wait(0.03)
    return 1.0
