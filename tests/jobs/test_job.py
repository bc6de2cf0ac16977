"""A job that leaves its evaluator: in a file, in another process."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, Job, JobError, JobStatus
from evalpool.storage import SQLiteStorage


def run(job: Any) -> dict[str, Any]:
    if job["x"] == 3:
        raise ValueError("three")
    return {"objective": float(job["x"]), "metadata": {"seed": job.seed}}


def test_a_pickled_job_is_a_record_of_what_happened_with_its_seed() -> None:
    with Evaluator.create(run, "serial", {"seed": 7}) as evaluator:
        evaluator.submit([{"x": 1}, {"x": 2}])
        jobs = evaluator.gather()
    for job in jobs:
        other: Job[Any] = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(job))))
        assert (other.id, other.args, other.objective, other.status) == (job.id, job.args, job.objective, job.status)
        assert other.metadata == job.metadata
        assert other.seed == job.seed == job.metadata["seed"]
        assert not other.cancel()


def test_a_failure_that_was_raised_in_its_own_run_is_restored_without_being_raised_again(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"on_error": "raise"}
    with SQLiteStorage(tmp_path / "results.db") as storage:
        with Evaluator.create(run, "serial", {"storage": storage, **settings}) as evaluator:
            evaluator.submit([{"x": 3}])
            with pytest.raises(JobError, match="three"):
                evaluator.gather()
        with Evaluator.create(run, "serial", {"storage": storage, "search_id": "latest", **settings}) as evaluator:
            evaluator.resume()
            (job,) = evaluator.gather()
            assert job.status is JobStatus.FAILED
            evaluator.submit([{"x": 3}])
            with pytest.raises(JobError, match="three"):
                evaluator.gather()
