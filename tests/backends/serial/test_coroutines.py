"""Async run-functions on `serial` that do not end as they should: they cost their own job only."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
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


CATCHES_ALL = """
import asyncio
from evalpool import SerialEvaluator

async def run(job):
    while job["hangs"]:
        try:
            await asyncio.Event().wait()
        except:
            pass
    return 1.0

with SerialEvaluator(run, num_workers=2, job_timeout=0.1) as evaluator:
    evaluator.submit([{"hangs": True}, {"hangs": False}])
    print(*sorted(str(job.objective) for job in evaluator.gather("ALL")))
print("closed")
"""


@pytest.mark.slow
def test_a_coroutine_that_catches_everything_holds_up_neither_close_nor_the_end_of_the_program() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CATCHES_ALL], capture_output=True, text=True, timeout=BOUND, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "1.0 F_timeout\nclosed\n"), ended.stderr


@pytest.mark.parametrize("in_a_cell", [False, True], ids=["plainly", "inside a running loop"])
def test_tasks_that_a_run_function_leaves_behind_end_with_the_evaluator(
    in_a_cell: bool, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ended = []
    never = asyncio.Event()  # it keeps the tasks, of which asyncio has weak references only: they might be collected

    async def behind(x: int) -> None:
        try:
            await never.wait()
        finally:
            await asyncio.sleep(0)  # as an end that needs the loop
            ended.append(x)

    async def run(job: Any) -> float:
        asyncio.create_task(behind(job["x"]))  # noqa: RUF006  that nobody keeps it is the point
        await asyncio.sleep(0)
        return 1.0

    def search() -> list[Any]:
        with SerialEvaluator(run, num_workers=2) as evaluator:
            evaluator.submit([{"x": n} for n in range(3)])
            return [job.objective for job in evaluator.gather("ALL", timeout=BOUND)]

    async def cell() -> list[Any]:
        return search()

    assert (asyncio.run(cell()) if in_a_cell else search()) == [1.0] * 3
    assert sorted(ended) == [0, 1, 2]
    gc.collect()
    assert "Task was destroyed" not in caplog.text + "".join(capfd.readouterr())
