"""Between its real result and its virtual end a job runs, for whoever looks."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from evalpool import Job, JobStatus, SerialEvaluator, ThreadPoolEvaluator
from evalpool.simulation import simulated
from evalpool.storage import MemoryStorage


def run(job: Any) -> dict[str, float]:
    job.metadata["note"] = "said by the run-function"
    return {"objective": float(job["runtime"]), "runtime": float(job["runtime"])}


def has_no_end(job: Job[Any], storage: MemoryStorage | None = None) -> None:
    assert job.status is JobStatus.RUNNING
    assert not job.is_done
    assert (job.objective, job.output, job.error, job.kind, job.worker) == (None,) * 5
    assert "note" not in job.metadata
    assert job.metadata["timestamp_end"] is None
    assert "RUNNING" in repr(job)
    assert pickle.loads(pickle.dumps(job)).objective is None
    if storage is not None:
        (record,) = [each for each in storage.results() if each.number == job.number]
        assert (record.status, record.objective, record.output) == (JobStatus.RUNNING, None, None)


@pytest.mark.parametrize("backend", [SerialEvaluator, ThreadPoolEvaluator])
@pytest.mark.parametrize(
    "runtime", ["runtime", lambda job, output: output["runtime"]], ids=["by name", "by a function"]
)
def test_a_job_whose_virtual_end_has_not_come_runs(backend: Any, runtime: str | Callable[..., Any]) -> None:
    # worker-0: |10|
    # worker-1: |50-------|
    storage = MemoryStorage()
    with simulated(backend)(run, num_workers=2, runtime=runtime, storage=storage) as evaluator:
        short, long = evaluator.submit([{"runtime": 10}, {"runtime": 50}])
        assert evaluator.gather("BATCH", 1) == [short]
        assert evaluator.now == 10.0
        assert (short.status, short.objective) == (JobStatus.DONE, 10.0)
        has_no_end(long, storage)
        assert evaluator.gather() == [long]
        assert (long.status, long.objective, evaluator.now) == (JobStatus.DONE, 50.0, 50.0)
        assert long.metadata["note"] == "said by the run-function"


def test_records_of_the_default_storage_say_what_runs_in_virtual_time() -> None:
    with simulated(SerialEvaluator)(run, num_workers=2) as evaluator:
        evaluator.submit([{"runtime": 10}, {"runtime": 50}, {"runtime": 50}])
        assert [record.status.value for record in evaluator.results()] == ["RUNNING", "RUNNING", "READY"]
        evaluator.gather("BATCH", 1)
        assert [record.status.value for record in evaluator.results()] == ["DONE", "RUNNING", "RUNNING"]
        assert [record.objective for record in evaluator.results()] == [10.0, None, None]


def test_a_job_waits_runs_and_ends_by_virtual_time_alone() -> None:
    # worker-0: |10|50-------|       one real worker evaluates them one after the other, at once
    seen: list[str] = []
    with simulated(SerialEvaluator)(run, num_workers=1, runtime_before=lambda configuration: 10.0) as evaluator:
        first, second = evaluator.submit([{"runtime": 10}, {"runtime": 10}])
        seen += [first.status.value, second.status.value]
        evaluator.gather("BATCH", 1)
        seen += [first.status.value, second.status.value]
        evaluator.gather()
        seen += [first.status.value, second.status.value]
    assert seen == ["RUNNING", "READY", "DONE", "RUNNING", "DONE", "DONE"]


@pytest.mark.parametrize("how", ["cancel", "close", "timeout"])
def test_a_job_that_is_stopped_before_its_virtual_end_has_no_result(how: str) -> None:
    with simulated(ThreadPoolEvaluator)(run, num_workers=3, real_workers=1) as evaluator:
        if how == "timeout":
            evaluator.timeout = 20.0
        short, long, other = evaluator.submit([{"runtime": 10}, {"runtime": 50}, {"runtime": 40}])
        evaluator.gather("BATCH", 1)
        has_no_end(long)
        if how == "cancel":
            assert evaluator.cancel([long, other]) == 2
            ended = evaluator.gather()
        elif how == "close":
            ended = evaluator.close()
        else:
            ended = evaluator.gather()
            assert evaluator.now == 20.0
        assert {job.number for job in ended} == {1, 2}
        for job in ended:
            assert (job.status, job.objective) == (JobStatus.CANCELLED, "F_CANCELLED")
            assert job.output == {"objective": "F_CANCELLED"}
        assert short.objective == 10.0


def test_a_failed_attempt_is_not_seen_before_its_virtual_end() -> None:
    def fail(job: Any) -> dict[str, float]:
        if job["fails"]:
            raise ValueError("failed in reality")
        return {"objective": 1.0, "runtime": 5.0}

    with simulated(SerialEvaluator)(fail, num_workers=2, failure_runtime=30.0, retries=1) as evaluator:
        good, bad = evaluator.submit([{"fails": False}, {"fails": True}])
        assert evaluator.gather("BATCH", 1) == [good]
        assert (bad.status, bad.error, bad.objective) == (JobStatus.RUNNING, None, None)
        assert evaluator.gather() == [bad]
        assert (bad.objective, evaluator.now) == ("F_ValueError", 60.0)
