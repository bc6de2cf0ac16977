"""Starts and records reach the stopper at once, and the recorder and callbacks in their own ways."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from evalpool.callbacks import Callback
from evalpool.evaluator._hook_queue import HookQueue
from evalpool.evaluator._recorder import Recorder
from evalpool.evaluator._watching import Watching
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind


class Noting(Recorder):
    keeps = hears_starts = True

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def started(self, job: Job[Any], start: float, attempt: int, worker: Any) -> None:
        self.heard.append(("started", job.number, start, attempt))

    def recorded(self, job: Job[Any], budget: float, objective: Any) -> None:
        self.heard.append(("recorded", job.number, budget, objective))


class Both(Callback):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_start(self, job: Any) -> None:
        self.heard.append(job.number)

    def on_record(self, job: Any, budget: float, objective: Any) -> None:
        self.heard.append((job.number, budget, objective))


class AtTwo:
    """Stops each job at its second record; raises where it is told to."""

    raises = False

    def __init__(self) -> None:
        self.seen = 0

    def observe(self, budget: float, objective: Any) -> None:
        if AtTwo.raises:
            raise ValueError("a mistake")
        self.seen += 1

    def stop(self) -> bool:
        return self.seen >= 2


def job(number: int) -> Job[Any]:
    return Job(None, None, "0", number, {"x": number}, "hpo", 0.0)


def test_the_recorder_hears_at_once_and_callbacks_when_notices_are_delivered() -> None:
    recorder, callback = Noting(), Both()
    hooks = HookQueue([callback])
    watching = Watching(None, recorder, hooks)
    assert watching.starts
    assert watching.records
    one = job(1)
    watching.started(one, 0.5, 1)
    assert not watching.recorded(one, 0.25, 3.0)
    assert recorder.heard == [("started", 1, 0.5, 1), ("recorded", 1, 0.25, 3.0)]
    assert callback.heard == []
    hooks.deliver_notices()
    assert callback.heard == [1, (1, 0.25, 3.0)]


def test_where_nobody_listens_nothing_need_be_said() -> None:
    watching = Watching(None, Recorder(), HookQueue([]))
    assert not watching.starts
    assert not watching.records


def test_each_job_has_a_stopper_of_its_own() -> None:
    watching = Watching(AtTwo(), Recorder(), HookQueue([]))
    one, other = job(1), job(2)
    assert [watching.recorded(one, n, 0.0) for n in range(2)] == [False, True]
    assert not watching.recorded(other, 0, 0.0)


def test_a_stopper_that_raises_stops_no_job(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AtTwo, "raises", True)
    watching = Watching(AtTwo(), Recorder(), HookQueue([]))
    with caplog.at_level(logging.ERROR, logger="evalpool"):
        assert not watching.recorded(job(1), 0, 0.0)
    assert "AtTwo raised; job 0.1 goes on." in caplog.text


def test_a_job_that_was_asked_to_stop_is_told_so_at_its_next_record() -> None:
    watching = Watching(None, Recorder(), HookQueue([]))
    one = job(1)
    one._stop = FailureKind.CANCELLED
    assert watching.recorded(one, 0, 0.0)
