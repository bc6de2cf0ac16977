"""The right to do the I/O is passed on at every moment, also as the pool ends."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from evalpool import ProcessPoolEvaluator
from evalpool.backends._pool._lead import Lead

BOUND = 20


def run(job: Any) -> float:
    return float(job["x"])


def test_a_caller_that_came_to_wait_as_the_pool_ended_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, ended = threading.Event(), threading.Event()
    take = Lead.take

    def take_late(self: Lead) -> bool:
        if threading.current_thread() is waiting:
            entered.set()
            ended.wait(BOUND)
        return take(self)

    with ProcessPoolEvaluator(run, num_workers=1) as evaluator:
        evaluator.submit([{"x": 0}])
        evaluator.gather()
        waiting = threading.Thread(target=evaluator._core.backend.wait, args=(Nothing(),), daemon=True)
        monkeypatch.setattr(Lead, "take", take_late)
        waiting.start()
        assert entered.wait(BOUND)
    ended.set()
    waiting.join(BOUND)
    assert not waiting.is_alive()


class Nothing:
    """A turn that ends when the pool does."""

    def __init__(self) -> None:
        self.watchers: list[Any] = []
        self.wakers: list[Any] | None = None

    def done(self) -> bool:
        return False

    def rest(self) -> float | None:
        return None

    def on_wake(self, call: Any) -> None:
        self.watchers.append(call)
