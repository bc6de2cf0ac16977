"""What an executor gives back, in whatever way its futures end."""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future
from typing import Any

import pytest

from evalpool import ExecutorEvaluator, FailureKind


class ByHand:
    """An executor whose futures end when the test says so."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, *call: Any) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]


def test_what_an_executor_gives_back_in_place_of_an_outcome_is_that_jobs_failure() -> None:
    executor = ByHand()
    with ExecutorEvaluator(lambda job: 1.0, executor=executor, num_workers=2) as evaluator:
        evaluator.submit([{}, {}])
        executor.futures[0].set_result(b"no pickle")
        executor.futures[1].set_exception(OSError("the node is gone"))
        jobs = evaluator.gather("ALL", timeout=30)
    assert [job.kind for job in jobs] == [FailureKind.UNPICKLABLE, FailureKind.WORKER_DIED]
    assert "the node is gone" in (jobs[1].error or "")


class Odd:
    """An executor whose `submit` does for each job what the next of `deeds` does."""

    def __init__(self, *deeds: Any) -> None:
        self.deeds = list(deeds)

    def submit(self, *call: Any) -> Any:
        return self.deeds.pop(0)()


class Stubborn(Future[Any]):
    def cancel(self) -> bool:
        raise OSError("the scheduler does not answer")


def test_what_submit_of_an_executor_raises_or_returns_is_that_jobs_failure(caplog: pytest.LogCaptureFixture) -> None:
    executor = Odd(lambda: os.listdir("/no/such/place"), lambda: sys.exit("no"), lambda: 3, Stubborn)
    evaluator = ExecutorEvaluator(lambda job: 1.0, executor=executor, num_workers=4)
    evaluator.submit([{}, {}, {}, {}])
    jobs = sorted(evaluator.gather("BATCH", 3, timeout=30), key=lambda job: job.number)
    assert [job.objective for job in jobs] == ["F_worker_died"] * 3
    for job, part in zip(jobs, ("/no/such/place", "SystemExit: no", "3 of type int; expected a future"), strict=True):
        assert part in (job.error or "")
        assert (job.error or "").startswith("Odd.submit r")
    assert [job.objective for job in evaluator.close()] == ["F_CANCELLED"]
    assert "given to Odd could not be cancelled" in caplog.text
    assert "the scheduler does not answer" in caplog.text
