"""Handlers of any signal that raise: what they raise leaves gather, and leaves everything whole."""

from __future__ import annotations

import numbers
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evalpool import Evaluator, ProcessPoolEvaluator, SerialEvaluator
from evalpool.backends import Backend
from evalpool.callbacks import Callback
from evalpool.testing._lifecycle import until_stopped

pytestmark = pytest.mark.timeout(60, method="thread")  # the other method uses SIGALRM itself

NUMBERS = [signal.SIGALRM, signal.SIGUSR1, signal.SIGHUP]


class Late(Exception):
    """No `KeyboardInterrupt`: whoever catches every `Exception` would take it for its own."""


def raises(number: int, frame: Any) -> None:
    raise Late(signal.Signals(number).name)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def run(job: Any) -> float:
    return float(job["x"])


@pytest.mark.parametrize("number", NUMBERS)
def test_what_a_handler_raises_ends_a_wait_and_the_evaluator_goes_on(number: signal.Signals) -> None:
    with Evaluator.create(until_stopped, method="thread", method_kwargs={"num_workers": 1}) as evaluator:
        (job,) = evaluator.submit([{"x": 1}])
        signal.signal(number, raises)
        threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, number)).start()
        with pytest.raises(Late, match=number.name):
            evaluator.gather("ALL", timeout=30)
        assert not job.is_done
        job.cancel()
        assert [job.number for job in evaluator.gather("ALL", timeout=30)] == [0]


def test_who_puts_back_a_handler_has_its_own_back() -> None:
    heard: list[str] = []

    def first(number: int, frame: Any) -> None:
        heard.append("first")

    def second(number: int, frame: Any) -> None:
        heard.append("second")

    signal.signal(signal.SIGUSR1, first)
    evaluator = SerialEvaluator(run)
    evaluator.submit([{"x": 1}])
    evaluator.gather()
    found = signal.signal(signal.SIGUSR1, second)
    evaluator.submit([{"x": 2}])
    evaluator.gather()
    signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, found)  # as libraries do that lend a signal
    evaluator.submit([{"x": 3}])
    evaluator.gather()
    signal.raise_signal(signal.SIGUSR1)
    evaluator.close()
    signal.raise_signal(signal.SIGUSR1)
    assert heard == ["second", "first", "first"]
    assert signal.getsignal(signal.SIGUSR1) is first


def test_an_alarm_in_a_callback_leaves_gather() -> None:
    class Slow(Callback):
        def on_done(self, job: Any) -> None:
            signal.raise_signal(signal.SIGALRM)

    with SerialEvaluator(run, callbacks=[Slow()]) as evaluator:
        evaluator.submit([{"x": 1}])
        signal.signal(signal.SIGALRM, raises)
        with pytest.raises(Late):
            evaluator.gather()
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        assert [job.objective for job in evaluator.gather()] == [1.0]


class Read:
    """A result during whose reading an alarm goes off."""

    def __float__(self) -> float:
        signal.raise_signal(signal.SIGALRM)
        raise ValueError("no number")


numbers.Real.register(Read)


async def read_later(job: Any) -> Any:
    return read(job)


def read(job: Any) -> Any:
    return Read() if job["x"] == 1 else float(job["x"])


@pytest.mark.parametrize("function", [read, read_later])
def test_what_a_handler_raises_while_a_result_is_read_leaves_gather(function: Any) -> None:
    """It says nothing of the result, and is no failure of its job."""
    with SerialEvaluator(function) as evaluator:
        first, second = evaluator.submit([{"x": 1}, {"x": 2}])
        signal.signal(signal.SIGALRM, raises)
        with pytest.raises(Late):
            evaluator.gather()
        assert [(job.number, job.objective) for job in evaluator.gather()] == [(0, "F_CANCELLED"), (1, 2.0)]
        assert evaluator.num_jobs_gathered == 2
        assert [record.status.name for record in evaluator.results()] == ["CANCELLED", "DONE"]
        assert first.is_done
        assert second.is_done
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        evaluator.submit([{"x": 1}])
        assert [job.objective for job in evaluator.gather()] == ["F_invalid_output"]


@pytest.mark.slow
def test_a_handler_that_closes_the_evaluator_waits_no_longer_than_its_jobs_take_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The outcomes are read while the handler waits for them, in the thread that would read them otherwise."""
    monkeypatch.setattr(Backend, "close_grace", 1000.0)
    with ProcessPoolEvaluator(until_stopped, num_workers=1) as evaluator:
        evaluator.submit([{}])
        signal.signal(signal.SIGUSR1, lambda number, frame: evaluator.close())
        threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1)).start()
        assert evaluator.gather() == []
