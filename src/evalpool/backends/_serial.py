"""The backend on the calling thread: for debugging, for tables, and as the reference for the other backends."""

from __future__ import annotations

import inspect
import os
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING

from evalpool._interrupts import defer_signals, from_a_handler
from evalpool._log import get_logger
from evalpool.backends._thread import Threads
from evalpool.evaluator._attempt import Attempt
from evalpool.evaluator._backend import Backend
from evalpool.evaluator._evaluator import Evaluator
from evalpool.evaluator._port import Port, Turn
from evalpool.outcomes import FailureKind, Outcome, Worker, failed

if TYPE_CHECKING:
    import asyncio

    from evalpool.backends._turning import TurningLoop

__all__ = ["SerialBackend", "SerialEvaluator"]

logger = get_logger()

LEAVE = 1.0
"""Seconds that a coroutine which is cancelled may take to end: a coroutine may catch that, to clean up or for ever."""


class SerialBackend(Backend):
    """Runs jobs in the thread that waits for them."""

    waits = True

    def __init__(self) -> None:
        self._port: Port | None = None
        self._queue: deque[Attempt] = deque()
        self._turn = threading.RLock()  # one thread works at a time; the others' gathers wait for it
        self._worker = Worker("serial", socket.gethostname(), os.getpid())
        self._threads: Threads | None = None
        self._current: Attempt | None = None  # the running attempt, which is the first in the queue
        self._beside: Attempt | None = None  # the attempt that runs in the other thread
        self._loop: TurningLoop | None = None
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}

    def start(self, port: Port) -> None:
        run_function = port.task.run_function
        method = type(run_function).__call__  # it is async, if an object is async
        try:
            self._async = inspect.iscoroutinefunction(run_function) or inspect.iscoroutinefunction(method)
        except Exception:  # noqa: BLE001  raised by an object's own `__getattr__`
            self._async = inspect.iscoroutinefunction(method)
        port.task.lets_interrupts_through = True
        self._port = port
        if not self._async:
            port.add_slots(1 - port.num_workers)

    def run(self, attempts: list[Attempt]) -> None:
        self._queue.extend(attempts)

    def wait(self, turn: Turn) -> bool:
        port = self._port
        if port is not None:
            with self._turn:
                if self._async:
                    self._turn_loop(port, turn)
                elif port.has_deadlines:
                    self._work_beside(port, turn)
                else:
                    self._work(port, turn)
        return True

    # In this thread.

    def _work(self, port: Port, turn: Turn) -> None:
        queue, evaluate, report, done, worker = self._queue, port.evaluate, port.report, turn.done, self._worker
        timed = turn.deadline is not None
        while not done():
            if timed and turn.rest() == 0.0:
                return
            if not queue:
                if turn.until_refilled():
                    continue
                return
            if port.has_deadlines:  # a job with a time limit came meanwhile
                self._work_beside(port, turn)
                return
            attempt = queue[0]  # it stays in the queue until it has been reported, so that no interrupt loses it
            self._current = attempt
            try:
                if port.watches_starts:
                    port.started(attempt, worker)
                outcome = evaluate(attempt, worker)
                with defer_signals():
                    self._current = None
                    if queue and queue[0] is attempt:
                        queue.popleft()
                    report([(attempt, outcome)])
            except BaseException as error:
                if not isinstance(error, KeyboardInterrupt) and not from_a_handler(error):
                    raise
                with defer_signals():
                    self._current = None
                    if queue and queue[0] is attempt:
                        queue.popleft()
                        by = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else type(error).__name__
                        report([(attempt, failed(FailureKind.CANCELLED, f"interrupted by {by}"))])
                raise

    # In another thread, which can be abandoned.

    def _work_beside(self, port: Port, turn: Turn) -> None:
        if self._threads is None:
            self._threads = Threads(port, 1, "serial")
        while not turn.done():
            if self._beside is None:
                if not self._queue:
                    if turn.until_refilled():
                        continue
                    return
                with defer_signals():
                    self._beside = self._queue.popleft()
                    self._threads.run([self._beside])
            if not turn.until_ended(self._beside):
                return  # the next wait continues with it
            self._beside = None

    # On an event loop.

    def _turn_loop(self, port: Port, turn: Turn) -> None:
        from evalpool.backends._turning import TurningLoop

        loop = self._loop
        if loop is None:
            loop = self._loop = TurningLoop()
        while not turn.done():
            with defer_signals():
                while self._queue:
                    self._begin_async(port, loop, self._queue.popleft())
            if not self._tasks or turn.rest() == 0.0:
                return
            loop.turn(turn.deadline)

    def _begin_async(self, port: Port, loop: TurningLoop, attempt: Attempt) -> None:
        def done(outcome: Outcome) -> None:
            self._tasks.pop(attempt, None)
            port.report([(attempt, outcome)])

        def interrupted() -> None:
            done(failed(FailureKind.CANCELLED, "interrupted by Ctrl-C"))

        async def work() -> Outcome:
            if port.watches_starts:
                port.started(attempt, self._worker)
            return await port.aevaluate(attempt, self._worker)

        self._tasks[attempt] = loop.start(work(), done, interrupted)

    # Stopping.

    def ask_to_stop(self, attempt: Attempt) -> None:
        if attempt is self._current or self._port is None:
            return  # it runs, and will see the request itself
        try:
            self._queue.remove(attempt)
        except ValueError:
            return  # it runs, and will see the request itself
        self._port.report([(attempt, failed(FailureKind.CANCELLED, "cancelled before it ran"))])

    def force_stop(self, attempt: Attempt) -> bool:
        task = self._tasks.get(attempt)
        if task is not None and self._loop is not None:
            self._loop.cancel(task, LEAVE, lambda: self._drop(attempt))
            return True
        return self._threads is not None and self._threads.abandon(attempt)

    def _drop(self, attempt: Attempt) -> None:
        """Report an attempt whose coroutine goes on although it was cancelled; its later end counts no more."""
        port = self._port
        if port is None or self._tasks.pop(attempt, None) is None:
            return
        logger.warning(
            "Job %s did not stop when asked, and its coroutine did not end within %s s after it was cancelled (it "
            "catches asyncio.CancelledError). It goes on in the background while other jobs are awaited. Let "
            "CancelledError through, or use the process backend for jobs that hang.",
            attempt.job.id,
            LEAVE,
        )
        port.report([(attempt, port.forced(attempt, "its coroutine was abandoned", self._worker))])

    def shutdown(self, now: bool) -> None:
        if self._threads is not None:
            self._threads.stop()
        if self._loop is not None and not self._loop.is_running:
            self._loop.close(LEAVE)


class SerialEvaluator(Evaluator):
    """Runs run-functions in the calling thread, while it waits in `gather`.

    With a plain function, one job runs at a time, whatever `num_workers` is. With an async function, up to
    `num_workers` jobs interleave on the evaluator's event loop. The debugger, `print` and thread-locals work as if the
    function were called by hand. With a `job_timeout` or a `timeout`, jobs of a plain function run in another thread,
    which can be abandoned, while the caller waits for it. A job of an async function ends in time if it awaits;
    while it blocks, it holds up the event loop and `gather`.
    """

    backend_class = SerialBackend
