"""The system refuses to start threads, at the start or later: no wait is endless, and the evaluator closes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evalpool import Evaluator

BOUND = 20.0
REFUSAL = "can't start new thread"


class Limit:
    """How many more threads can be started; None without a limit."""

    def __init__(self) -> None:
        self.left: int | None = None


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Limit]:
    limit, start = Limit(), threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if limit.left is not None:
            if limit.left == 0:
                raise RuntimeError(REFUSAL)
            limit.left -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    yield limit
    limit.left = None


def values(evaluator: Evaluator, configurations: list[dict[str, Any]]) -> list[Any]:
    """Submit and gather; the objectives by submission, or for failures of workers the whole error."""
    evaluator.submit(configurations)
    jobs = sorted(evaluator.gather("ALL", timeout=BOUND), key=lambda job: job.number)
    assert len(jobs) == len(configurations)
    return [job.error if job.objective == "F_worker_died" else job.objective for job in jobs]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "workers"), [("thread", 1), ("thread", 2), ("serial", 1)])
def test_a_job_that_hangs_is_reported_though_no_thread_can_take_the_place_of_its_own(
    limit: Limit, method: str, workers: int
) -> None:
    released = threading.Event()

    def run(job: Any) -> float:
        if job["hangs"]:
            released.wait(BOUND)
        return 1.0

    mixed, short = [{"hangs": n == 0} for n in range(3)], [{"hangs": False} for _ in range(3)]
    try:
        with Evaluator.create(run, method, {"num_workers": workers, "job_timeout": 0.5}) as evaluator:
            assert values(evaluator, short) == [1.0] * 3
            limit.left = 0
            first, *others = values(evaluator, mixed)
            assert first == "F_timeout"
            if workers == 1:  # no thread is left
                assert all(REFUSAL in error for error in others)
            else:
                assert others == [1.0, 1.0]
            limit.left = None
            assert values(evaluator, short) == [1.0] * 3
    finally:
        released.set()


@pytest.mark.parametrize(("method", "options"), [("thread", {}), ("serial", {"job_timeout": BOUND})])
def test_jobs_fail_with_the_reason_while_no_thread_can_be_started(
    limit: Limit, method: str, options: dict[str, Any]
) -> None:
    with Evaluator.create(lambda job: 1.0, method, {"num_workers": 3, **options}) as evaluator:
        limit.left = 0
        assert all(REFUSAL in error for error in values(evaluator, [{"x": n} for n in range(5)]))
        limit.left = None
        assert values(evaluator, [{"x": n} for n in range(5)]) == [1.0] * 5


def test_a_host_without_a_name_fails_the_jobs_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise OSError("no name")

    with Evaluator.create(lambda job: 1.0, "thread", {"num_workers": 2}) as evaluator:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "gethostname", refuse)
            assert all("OSError: no name" in error for error in values(evaluator, [{"x": 1}, {"x": 2}]))


def test_jobs_run_on_as_many_threads_as_could_be_started_and_on_all_when_the_others_can(limit: Limit) -> None:
    together = threading.Barrier(3)

    def run(job: Any) -> float:
        if job["together"]:
            together.wait(BOUND)
        return 1.0

    with Evaluator.create(run, "thread", {"num_workers": 3}) as evaluator:
        limit.left = 1
        assert values(evaluator, [{"together": False} for _ in range(5)]) == [1.0] * 5
        limit.left = None
        assert values(evaluator, [{"together": True} for _ in range(3)]) == [1.0] * 3
