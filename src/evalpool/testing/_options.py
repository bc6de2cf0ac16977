"""Tests of the options that a `Submission` gives to its job."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from evalpool.jobs import JobOptions, Submission
from evalpool.outcomes import FailureKind
from evalpool.testing._bench import BOUND, Bench
from evalpool.worker import RunningJob

__all__ = ["Options"]

Make = Callable[..., Any]


def wait_or_not(job: RunningJob) -> Any:
    threading.Event().wait(job.get("wait", 0.0))
    return job["x"]


class Options(Bench):
    def test_dicts_and_submissions_are_evaluated_alike(self, make: Make) -> None:
        evaluator = make(wait_or_not, num_workers=2)
        plain, marked = evaluator.submit([{"x": 1}, Submission({"x": 2}, priority=3, tags=["warm", "a"])])
        evaluator.gather("ALL")
        assert [plain.objective, marked.objective] == [1, 2]
        assert marked.args == {"x": 2}
        assert plain.options == JobOptions()
        assert marked.options == JobOptions(priority=3, job_timeout=None, tags=("warm", "a"))
        assert [record.options for record in evaluator.results()] == [plain.options, marked.options]
        (job,) = evaluator.as_completed([Submission({"x": 3}, tags=["b"])])
        assert (job.objective, job.options.tags) == (3, ("b",))

    @pytest.mark.slow
    @pytest.mark.leaves_threads
    def test_a_job_over_its_own_timeout_is_reported_and_the_others_go_on(self, make: Make) -> None:
        evaluator = make(wait_or_not, num_workers=2)
        evaluator.submit([{"x": 0}, {"x": 0}])  # so that its workers have started: see the test of `job_timeout`
        evaluator.gather()
        configurations = [{"x": n, "wait": {2: 4.0, 3: 1.0}.get(n, 0.0)} for n in range(12)]
        submissions = [Submission(c, job_timeout=0.5) if n == 2 else c for n, c in enumerate(configurations)]
        jobs = evaluator.submit(submissions)
        evaluator.gather("ALL")
        assert [job.objective for job in jobs] == ["F_timeout" if n == 2 else n for n in range(12)]
        assert jobs[2].kind is FailureKind.TIMEOUT
        assert "0.5 s" in jobs[2].error

    @pytest.mark.slow
    @pytest.mark.leaves_threads
    def test_a_job_has_its_own_timeout_in_the_place_of_the_evaluators(self, make: Make) -> None:
        evaluator = make(wait_or_not, num_workers=1, job_timeout=0.4)
        evaluator.submit([Submission({"x": 0}, job_timeout=BOUND)])
        evaluator.gather()
        jobs = evaluator.submit(
            [
                Submission({"x": 1, "wait": 0.6}, job_timeout=0),
                Submission({"x": 2, "wait": 0.6}, job_timeout=BOUND),
                {"x": 3, "wait": 4.0},
            ]
        )
        evaluator.gather("ALL")
        assert [job.objective for job in jobs] == [1, 2, "F_timeout"]
        assert "0.4 s" in jobs[2].error
