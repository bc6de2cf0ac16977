"""What an executor gives back, in whatever way its futures end."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

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
