"""A pool that has no worker says so once, and goes on when one comes."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from evalpool import ProcessPoolEvaluator, RunningJob
from evalpool.testing._bench import wait_until

pytestmark = pytest.mark.slow


def import_slowly(fifo: str) -> float:
    """As a module on a file system that hangs: opening a pipe waits until somebody writes to it."""
    return float(Path(fifo).read_text())


class Slow:
    def __init__(self, fifo: str) -> None:
        self.fifo = fifo

    def __reduce__(self) -> Any:
        return import_slowly, (self.fifo,)


def test_workers_that_do_not_come_are_named_once_and_their_jobs_run_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalpool.backends._pool._shortage.NO_WORKER_FOR", 0.1)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def run(job: RunningJob, value: float) -> float:
        return value

    with ProcessPoolEvaluator(run, num_workers=1, run_function_kwargs={"value": Slow(str(fifo))}) as evaluator:
        evaluator.submit([{}])
        wait_until(lambda: "has had no worker for 0.1 s" in caplog.text)
        fifo.write_text("7")
        assert [job.objective for job in evaluator.gather()] == [7.0]
    (warning,) = [record for record in caplog.records if "has had no worker" in record.message]
    assert warning.levelno == logging.WARNING
    assert "ProcessPoolEvaluator of search 0" in warning.message
    assert "Workers are starting (process " in warning.message


def test_a_worker_that_comes_in_time_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    with ProcessPoolEvaluator(abs_of, num_workers=2) as evaluator:
        evaluator.submit([{"x": -1}])
        assert [job.objective for job in evaluator.gather()] == [1.0]
        assert evaluator._backend.pool is not None
        evaluator._backend.pool.shortage._look(1)  # the look that was due for the time before
    assert "has had no worker" not in caplog.text


def abs_of(job: RunningJob) -> float:
    return float(abs(job["x"]))
