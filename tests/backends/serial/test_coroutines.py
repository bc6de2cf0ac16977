"""Async run-functions on `serial` that do not end as they should: they cost their own job only."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from evalpool import SerialEvaluator
from evalpool.backends import _serial

BOUND = 20.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serial, "LEAVE", 0.05)


async def goes_on(job: Any) -> float:
    """Goes on for ever, whatever cancels it, if its configuration says so."""
    while job["hangs"]:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    return 1.0


@pytest.mark.slow
def test_a_coroutine_that_catches_its_cancellation_is_reported_and_the_other_jobs_are_done() -> None:
    with SerialEvaluator(goes_on, num_workers=2, job_timeout=0.5) as evaluator:
        evaluator.submit([{"hangs": n == 0} for n in range(3)])
        jobs = evaluator.gather("ALL", timeout=BOUND)
        assert {job.number: job.objective for job in jobs} == {0: "F_timeout", 1: 1.0, 2: 1.0}
        evaluator.submit([{"hangs": False} for _ in range(4)])  # both slots are free
        assert [job.objective for job in evaluator.gather("ALL", timeout=BOUND)] == [1.0] * 4


@pytest.mark.slow
def test_the_time_budget_ends_a_coroutine_that_catches_its_cancellation() -> None:
    with SerialEvaluator(goes_on, num_workers=2) as evaluator:
        evaluator.timeout = 0.1
        evaluator.submit([{"hangs": True}])
        assert [job.objective for job in evaluator.gather("ALL", timeout=BOUND)] == ["F_CANCELLED"]


@pytest.mark.slow
def test_cancel_ends_a_coroutine_that_catches_its_cancellation_and_what_it_returns_later_does_not_count() -> None:
    began, released = asyncio.Event(), asyncio.Event()

    async def run(job: Any) -> float:
        if job["x"] == 0:
            began.set()
            while not released.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await released.wait()
        elif job["x"] == 1:
            await began.wait()
            submitted[0].cancel()
        else:
            released.set()
            await asyncio.sleep(0)
        return float(job["x"])

    with SerialEvaluator(run, num_workers=2) as evaluator:
        submitted = evaluator.submit([{"x": 0}, {"x": 1}])
        jobs = evaluator.gather("ALL", timeout=BOUND)
        assert {job.number: job.objective for job in jobs} == {0: "F_CANCELLED", 1: 1.0}
        evaluator.submit([{"x": 2}])
        jobs = evaluator.gather("ALL", timeout=BOUND)
        assert [job.objective for job in jobs] == [2.0]
        assert submitted[0].objective == "F_CANCELLED"
