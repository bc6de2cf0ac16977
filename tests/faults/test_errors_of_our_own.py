"""An error of our own, at whatever line of the loops that see to workers: gather ends, and every job has an outcome.

Each line of these functions in turn raises once, in whichever thread comes to it, while jobs run. What the jobs end as
depends on what the error left inconsistent; that they end, and that the jobs after them are done, does not.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import CodeType, FrameType
from typing import Any

import pytest

from evalpool import ExecutorEvaluator, Job, ProcessPoolEvaluator, ThreadPoolEvaluator
from evalpool.backends._executor import ExecutorBackend
from evalpool.backends._pool._hearing import Hearing
from evalpool.backends._pool._pool import Pool
from evalpool.backends._pool._prefetcher import Prefetcher
from evalpool.backends._pool._sockets import SocketTransport
from evalpool.backends._remote import Line, read_outcome
from evalpool.backends._thread import Threads
from evalpool.evaluator import Evaluator
from evalpool.evaluator._core import Core
from evalpool.evaluator._ledger import JobLedger
from evalpool.evaluator._running_attempts import RunningAttempts
from evalpool.evaluator._watchdog import Watchdog

pytestmark = pytest.mark.slow


class Unforeseen(Exception):
    """What nobody foresaw."""


class Fault:
    """Raises once before a chosen line, in any thread that was started under it."""

    def __init__(self, *functions: Callable[..., Any]) -> None:
        self._codes: set[CodeType] = {getattr(function, "__func__", function).__code__ for function in functions}
        self._at: tuple[CodeType, int] | None = None
        self.lines = sorted(
            {
                (code.co_name, line, code)
                for code in self._codes
                for *_, line in code.co_lines()
                # The line of a `with` comes again as its block ends, before the context is left: a lock would stay
                # taken, which no error can do there. Nor can one come at a `try`, which does nothing.
                if line and not linecache.getline(code.co_filename, line).strip().startswith(("with ", "try:"))
            },
            key=lambda each: each[:2],
        )

    def arm(self, code: CodeType, line: int) -> None:
        self._at = code, line

    @property
    def struck(self) -> bool:
        return self._at is None

    def disarm(self) -> None:
        self._at = None

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._in_function if frame.f_code in self._codes else None

    def _in_function(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and self._at == (frame.f_code, frame.f_lineno):
            self._at = None
            raise Unforeseen(f"at line {frame.f_lineno} of {frame.f_code.co_name}")
        return self._in_function


@pytest.fixture
def traced() -> Iterator[Callable[[Fault], None]]:
    before = sys.gettrace()

    def start(fault: Fault) -> None:
        threading.settrace(fault.trace)
        sys.settrace(fault.trace)

    yield start
    threading.settrace(None)  # type: ignore[arg-type]  # None takes it away
    sys.settrace(before)


def run(job: Any) -> float:
    job.record(1.0, 0.0)
    return float(job["x"])


def all_end(evaluator: Evaluator, first: int, where: tuple[str, int]) -> None:
    """A handful of jobs, submitted and gathered in both ways; all have an outcome."""
    jobs: list[Job[Any]] = evaluator.submit([{"x": first + n} for n in range(5)])
    threading.Event().wait(0.003)  # the caller is away: the thread of our own takes over
    gathered = evaluator.gather("ALL", timeout=20)
    assert len(gathered) == len(jobs), where
    assert {job.number for job in gathered} == {job.number for job in jobs}, where
    for job in gathered:
        assert job.objective == float(job.args["x"]) or "Unforeseen" in (job.error or ""), where


def in_the_threads_of(evaluator: ProcessPoolEvaluator, fault: Fault) -> None:
    """Python traces a thread no longer in which a trace function raised: so begin anew."""
    sys.settrace(fault.trace)
    pool = evaluator._backend.pool
    assert pool is not None
    begun = threading.Event()

    def begin() -> None:
        sys.settrace(fault.trace)
        begun.set()

    pool.command(begin)
    assert begun.wait(30)


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.stress)])
def test_an_error_in_the_reading_of_workers_ends_no_wait(traced: Callable[[Fault], None], every: int) -> None:
    fault = Fault(
        Pool._turn, Pool._tell_evaluator, Pool._place_unassigned, Pool._cancel_returned, Pool._balance, Pool.run,
        Pool._send, Pool._look, Pool._expect_held, Hearing.take, Hearing._take_other, Hearing._take_record,
        Prefetcher.balance, Prefetcher.give_back, Prefetcher._learn, Prefetcher._offer, Prefetcher.assign,
        Prefetcher.end, Prefetcher._next, Prefetcher._room,
        SocketTransport.handle, SocketTransport._on_data, SocketTransport._on_control, SocketTransport._woken,
        SocketTransport.send, SocketTransport.look, Core.report, JobLedger.end, JobLedger.take,
    )  # fmt: skip
    traced(fault)
    struck = 0
    lines = fault.lines[::every]
    with ProcessPoolEvaluator(run, num_workers=2) as evaluator:
        evaluator.submit([{"x": 0}])
        evaluator.gather()
        for count, (name, line, code) in enumerate(lines):
            in_the_threads_of(evaluator, fault)
            fault.arm(code, line)
            all_end(evaluator, 10 * count, (name, line))
            struck += fault.struck
            fault.disarm()
        evaluator.submit([{"x": 7}])
        assert [job.objective for job in evaluator.gather("ALL", timeout=20)] == [7.0]
    assert struck > len(lines) / 3


def test_outcomes_that_are_lost_before_their_jobs_are_handed_over_end_no_wait() -> None:
    looked = threading.Event()
    with ProcessPoolEvaluator(run, num_workers=2) as evaluator:
        evaluator.submit([{"x": 0}])
        evaluator.gather()
        backend, port = evaluator._backend, evaluator._backend.pool.port
        hand_over, report, end_lost = backend.run, port.report, port.lost

        def hand_over_slowly(attempts: Any) -> None:
            hand_over(attempts)
            assert looked.wait(20)

        def lose(reports: Any) -> None:
            port.report = report
            raise Unforeseen("while the jobs of these outcomes are being handed over")

        def look(*arguments: Any) -> bool:
            again = end_lost(*arguments)
            looked.set()
            return again

        backend.run, port.report, port.lost = hand_over_slowly, lose, look
        all_end(evaluator, 1, ("report", 0))


def test_an_error_in_a_thread_that_runs_jobs_ends_no_wait(traced: Callable[[Fault], None]) -> None:
    fault = Fault(Threads._work, Watchdog._turn, Core.report, JobLedger.end, RunningAttempts.started, JobLedger.take)
    struck = 0
    for count, (name, line, code) in enumerate(fault.lines):
        traced(fault)
        with ThreadPoolEvaluator(run, num_workers=1, job_timeout=20.0) as evaluator:
            fault.arm(code, line)
            all_end(evaluator, 10 * count, (name, line))
            struck += fault.struck
            fault.disarm()
            all_end(evaluator, 5, (name, line))
    assert struck > len(fault.lines) / 3


class Ended:
    """An executor that has ended a future by the time it gives it back: the whole step is this thread's."""

    def submit(self, function: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future


class EndedHere(Ended, ThreadPoolExecutor):  # type: ignore[misc]
    """As that, and known to be of this process."""


@pytest.mark.parametrize("executor_class", [Ended, EndedHere])
def test_an_error_in_the_step_from_a_future_to_a_report_loses_no_job(
    traced: Callable[[Fault], None], executor_class: type[Any]
) -> None:
    fault = Fault(
        ExecutorBackend.run, ExecutorBackend._run, ExecutorBackend._on_future, ExecutorBackend._outcome,
        ExecutorBackend._on_our_clock, read_outcome, Line.forget, Core.report, JobLedger.end,
    )  # fmt: skip
    struck = 0
    for count, (name, line, code) in enumerate(fault.lines):
        traced(fault)
        with ExecutorEvaluator(run, executor=executor_class(), num_workers=2) as evaluator:
            fault.arm(code, line)
            all_end(evaluator, 10 * count, (name, line))
            struck += fault.struck
            fault.disarm()
            all_end(evaluator, 5, (name, line))
    assert struck > len(fault.lines) / 4
