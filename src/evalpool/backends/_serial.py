"""The calling thread itself: for debugging, for tables, and as the reference the others are compared to."""

from __future__ import annotations

import inspect
import os
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._interrupts import Shielded, from_a_handler
from evalpool.backends._thread import LocalChannel, Threads
from evalpool.evaluator._evaluator import Evaluator
from evalpool.jobs._inbox import Inbox
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, Outcome, Worker, failed

if TYPE_CHECKING:
    import asyncio

    from evalpool.backends._turning import TurningLoop

__all__ = ["SerialEvaluator"]

LEAVE = 1.0
"""Seconds in which a coroutine that is cancelled at close may end."""


class SerialEvaluator(Evaluator):
    """Runs run-functions in the calling thread, while it waits in `gather`.

    A plain function runs one job at a time, whatever `num_workers`; of an async function up to `num_workers`
    jobs interleave on an event loop of the evaluator's own. The debugger, `print` and thread-locals work as if
    the function were called by hand. With a `job_timeout` or a `timeout` jobs run in a thread beside, which
    can be given up, while the caller waits for it.
    """

    def _start(self) -> None:
        self._queue: deque[Job[Any]] = deque()
        self._turn = threading.RLock()  # one thread works at a time; the others' gathers wait for it
        self._channel = LocalChannel(self)
        self._worker = Worker("serial", socket.gethostname(), os.getpid())
        self._work_once = self._task()
        self._async = inspect.iscoroutinefunction(self._run_function) or inspect.iscoroutinefunction(
            getattr(self._run_function, "__call__", None)  # noqa: B004  an object whose __call__ is async
        )
        self._threads: Threads | None = None
        self._current: Job[Any] | None = None  # it stands first in the queue, and runs
        self._loop: TurningLoop | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._work_once.lets_interrupts_through = True
        if not self._async:
            self._set_slots(1 - self._num_workers)

    def _dispatch(self, job: Job[Any]) -> None:
        self._queue.append(job)

    def _wait(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        if not self._started_up:
            return
        with self._turn:
            if self._async:
                self._turn_loop(inbox, size, deadline)
            elif self._has_deadlines or self.timeout is not None:
                self._work_beside(inbox, size, deadline)
            else:
                self._work(inbox, size, deadline)

    async def _await(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        import asyncio

        # The work is done by whoever waits; on a thread, so that the caller's loop goes on.
        await asyncio.to_thread(self._wait, inbox, size, deadline)

    # In this thread.

    def _work(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        queue, call, channel, worker = self._queue, self._work_once.call, self._channel, self._worker
        watched = self._watches_starts
        while len(inbox.done) < inbox.needed(size):
            if deadline is not None and monotonic() >= deadline:
                return
            if not queue:
                return
            if self._has_deadlines:  # a job with a time limit came meanwhile
                self._work_beside(inbox, size, deadline)
                return
            job = queue[0]  # it stays there until it has been reported: an interrupt must not lose it
            attempt = job.attempts
            self._current = job
            try:
                if watched:
                    self._started(job, worker)
                outcome = call(job.number, attempt, job.args, channel, job._extra, worker)
                with Shielded():
                    self._current = None
                    if queue and queue[0] is job:
                        queue.popleft()
                    channel.forget(job.number, attempt)
                    self._report(job, outcome, attempt)
            except BaseException as error:
                if not isinstance(error, KeyboardInterrupt) and not from_a_handler(error):
                    raise
                with Shielded():
                    self._current = None
                    if queue and queue[0] is job:
                        queue.popleft()
                        by = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else type(error).__name__
                        self._report(job, failed(FailureKind.CANCELLED, f"interrupted by {by}"), attempt)
                raise

    # In a thread beside, which can be given up.

    def _work_beside(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        if self._threads is None:
            self._threads = Threads(self, 1, "serial")
            self._core.wakes_at_every_report = True
        while len(inbox.done) < inbox.needed(size):
            try:
                job = self._queue.popleft()
            except IndexError:
                if not self._running:
                    return
                job = next(iter(self._running.values())).job  # left running by a gather that timed out
            else:
                self._threads.put(job)
            with Shielded(), self._condition:
                while job.number in self._running:
                    rest = None if deadline is None else deadline - monotonic()
                    if rest is not None and rest <= 0:
                        return
                    self._condition.wait(rest)

    # On a loop of its own.

    def _turn_loop(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        from evalpool.backends._turning import TurningLoop

        loop = self._loop
        if loop is None:
            loop = self._loop = TurningLoop()
        while len(inbox.done) < inbox.needed(size):
            with Shielded():
                while self._queue:
                    self._begin_async(loop, self._queue.popleft())
            if not self._tasks or (deadline is not None and monotonic() >= deadline):
                return
            loop.turn(deadline)

    def _begin_async(self, loop: TurningLoop, job: Job[Any]) -> None:
        attempt = job.attempts

        def done(outcome: Outcome) -> None:
            self._channel.forget(job.number, attempt)
            self._tasks.pop(job.number, None)
            self._report(job, outcome, attempt)

        def interrupted() -> None:
            self._tasks.pop(job.number, None)
            self._report(job, failed(FailureKind.CANCELLED, "interrupted by Ctrl-C"), attempt)

        async def work() -> Outcome:
            if self._watches_starts:
                self._started(job, self._worker)
            call = self._work_once.acall
            return await call(job.number, attempt, job.args, self._channel, job._extra, self._worker)

        self._tasks[job.number] = loop.start(work(), done, interrupted)

    # Stopping.

    def _ask_to_stop(self, job: Job[Any]) -> None:
        if job is self._current:
            return  # it runs, and sees the request itself
        try:
            self._queue.remove(job)
        except ValueError:
            return  # it runs, and sees the request itself
        self._report(job, failed(FailureKind.CANCELLED, "cancelled before it ran"))

    def _interrupt(self, job: Job[Any]) -> bool:
        task = self._tasks.get(job.number)
        if task is not None and self._loop is not None:
            self._loop.cancel(task)
            return True
        return self._threads is not None and self._threads.abandon(job)

    def _stop(self, now: bool) -> None:
        if not self._started_up:
            return
        if self._threads is not None:
            self._threads.stop()
        if self._loop is not None and not self._loop.is_running:
            self._loop.close(LEAVE)
