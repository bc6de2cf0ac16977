"""Threads of this process, and the evaluator on them.

The threads are our own because those of `concurrent.futures` cannot be given up: one that hangs would hold
its place for ever and block the interpreter's end.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from typing import Any

from evalpool._clock import monotonic
from evalpool._guard import Guard, describe, start_guarded
from evalpool._log import get_logger
from evalpool._patched import refuse_queues_of_greenlets
from evalpool.evaluator._evaluator import Evaluator
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, Outcome, Worker, failed
from evalpool.worker._call import Task

__all__ = ["LocalChannel", "ThreadPoolEvaluator", "Threads"]

logger = get_logger()


class LocalChannel:
    """The channel of running jobs that share the evaluator's memory."""

    __slots__ = ("_evaluator", "_stops")

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._stops: set[tuple[int, int]] = set()  # attempts that a stopper wants to end

    def record(self, number: int, attempt: int, budget: float, objective: Any) -> None:
        if self._evaluator._recorded(number, attempt, budget, objective):
            self._stops.add((number, attempt))

    def stopped(self, number: int, attempt: int) -> bool:
        return (number, attempt) in self._stops or self._evaluator._asked_to_stop(number, attempt)

    def must_end(self, number: int, attempt: int) -> bool:
        return self._evaluator._asked_to_stop(number, attempt)

    def storage(self) -> Any:
        return self._evaluator.storage

    def forget(self, number: int, attempt: int) -> None:
        """The attempt is over."""
        if self._stops:
            self._stops.discard((number, attempt))


class _Seat:
    """One thread's place: what it runs, and whether it was given up."""

    __slots__ = ("abandoned", "job", "thread", "worker")

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.job: Job[Any] | None = None
        self.abandoned = False
        self.thread: threading.Thread | None = None


class Threads:
    """A few threads that run jobs from one queue and report them; one that hangs can be replaced."""

    def __init__(self, evaluator: Evaluator, count: int, name: str) -> None:
        refuse_queues_of_greenlets(type(evaluator).__name__)
        self._evaluator = evaluator
        self._task: Task = evaluator._task()
        self._channel = LocalChannel(evaluator)
        self._queue: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._name = name
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._lock = threading.Lock()
        self._watched = evaluator._watches_starts
        self._guard = Guard("A thread that runs jobs")
        self.put = self._queue.put
        self._seats = [self._seat(index) for index in range(count)]

    def _seat(self, index: int) -> _Seat:
        seat = _Seat(Worker(f"{self._name}-{index}", self._host, self._pid))
        name = f"evalpool-{seat.worker.name}"
        seat.thread = start_guarded(name, self._guard, lambda: self._work(seat))
        return seat

    def _work(self, seat: _Seat) -> bool:
        get, call, channel, worker = self._queue.get, self._task.call, self._channel, seat.worker
        evaluator, watched = self._evaluator, self._watched
        job: Job[Any] | None = None
        attempt = None
        while not seat.abandoned:
            try:
                job = get()
                if job is None:
                    return False
                attempt = job.attempts
                seat.job = job
                if watched or evaluator._has_deadlines:
                    evaluator._started(job, worker)
                outcome = call(job.number, attempt, job.args, channel, job._extra, worker)
                seat.job = None
                channel.forget(job.number, attempt)
                evaluator._report(job, outcome, attempt)
                job = outcome = attempt = None  # type: ignore[assignment]  # nothing is kept while this thread waits
            except BaseException as error:  # noqa: BLE001  this thread has no caller
                self._guard.caught(error)
                lost, job, seat.job = job, None, None
                if lost is not None:
                    text = f"evalpool lost the job by an error of its own.\n{describe(error)}"
                    evaluator._report(lost, failed(FailureKind.WORKER_DIED, text, worker=worker), attempt)
        return False

    def abandon(self, job: Job[Any]) -> bool:
        """Give up the thread that runs `job` and start another in its place; False if none runs it."""
        with self._lock:
            for index, seat in enumerate(self._seats):
                if seat.job is job:
                    seat.abandoned = True
                    self._seats[index] = self._seat(index)
                    break
            else:
                return False
        logger.warning(
            "Thread %s was abandoned and replaced: job %s did not stop when asked. A thread cannot be killed; it "
            "goes on in the background until its run-function returns. Use the process backend for jobs that hang.",
            seat.worker.name,
            job.id,
        )
        self._evaluator._report(job, self._abandoned(job, seat.worker), job.attempts)
        return True

    def _abandoned(self, job: Job[Any], worker: Worker) -> Outcome:
        """The outcome of a job whose thread was given up."""
        start = None if job._started is None else job._started + self._evaluator._origin
        kind = job._stop or FailureKind.TIMEOUT
        return failed(kind, "its thread was abandoned", start=start, end=monotonic(), worker=worker)

    def stop(self) -> None:
        """End the threads; those that run a job end after it."""
        for _ in self._seats:
            self._queue.put(None)
        for seat in self._seats:
            if seat.thread is not None and seat.job is None and seat.thread is not threading.current_thread():
                seat.thread.join(1.0)


class ThreadPoolEvaluator(Evaluator):
    """Runs run-functions in threads of this process.

    For work that waits (I/O, subprocesses) or releases the GIL (numpy, most C code). Nothing is pickled. A job
    over its timeout is reported in time, but a thread cannot be killed: it is abandoned and replaced. A
    run-function that takes the process down (segfault, `os._exit`) takes the search with it; use the
    `ProcessPoolEvaluator` where that may happen.
    """

    def _start(self) -> None:
        self._threads = Threads(self, self._num_workers, "thread")

    def _dispatch(self, job: Job[Any]) -> None:
        self._threads.put(job)

    def _interrupt(self, job: Job[Any]) -> bool:
        return self._threads.abandon(job)

    def _stop(self, now: bool) -> None:
        if self._started_up:
            self._threads.stop()
