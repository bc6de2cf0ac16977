"""An interrupt while the first `submit` starts the engine."""

from __future__ import annotations

import signal
import threading
from typing import Any

import psutil
import pytest

from evalpool import Evaluator


class Interrupting:
    """Interrupts the program while the task is pickled."""

    def __call__(self, job: Any) -> float:
        return 1.0

    def __reduce__(self) -> Any:
        signal.raise_signal(signal.SIGINT)
        return Interrupting, ()


@pytest.mark.parametrize(
    ("method", "place"), [("thread", "a thread"), ("process", "a thread"), ("process", "the task")]
)
def test_an_interrupt_while_the_engine_starts_leaves_nothing_of_it_behind(
    method: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, handler, main = threading.Thread.start, signal.getsignal(signal.SIGINT), threading.current_thread()
    children, struck = len(psutil.Process().children()), threading.Event()

    def start_and_interrupt(thread: threading.Thread) -> None:
        start(thread)
        if threading.current_thread() is main and not struck.is_set():
            struck.set()
            signal.raise_signal(signal.SIGINT)

    if place == "a thread":
        monkeypatch.setattr(threading.Thread, "start", start_and_interrupt)
    run = Interrupting() if place == "the task" else lambda job: 1.0
    evaluator = Evaluator.create(run, method, {"num_workers": 2})
    with pytest.raises(KeyboardInterrupt):
        evaluator.submit([{}, {}])
    assert len(evaluator.gather("ALL", timeout=60)) == evaluator.num_jobs_submitted
    if place == "a thread":
        evaluator.submit([{}, {}])
        assert [job.objective for job in evaluator.gather("ALL", timeout=60)] == [1.0, 1.0]
    evaluator.close()
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(psutil.Process().children()) == children
    # `nothing_is_left_behind` looks for threads.
