"""The backend on threads of this process.

It does not use `concurrent.futures`, whose threads cannot be abandoned: a thread that hangs would keep its place for
ever and block the interpreter's end.
"""

from __future__ import annotations

import queue
import threading

from evalpool._guard import Guard, describe, start_guarded
from evalpool._log import get_logger
from evalpool._patched import refuse_queues_of_greenlets
from evalpool.evaluator._attempt import Attempt
from evalpool.evaluator._backend import Backend
from evalpool.evaluator._evaluator import Evaluator
from evalpool.evaluator._port import Port
from evalpool.outcomes import FailureKind, Worker, failed

__all__ = ["ThreadBackend", "ThreadPoolEvaluator", "Threads"]

logger = get_logger()


class _Thread:
    """One thread: the attempt that it runs, and whether it was abandoned."""

    __slots__ = ("abandoned", "attempt", "thread", "worker")

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.attempt: Attempt | None = None
        self.abandoned = False
        self.thread: threading.Thread | None = None


class Threads:
    """Some threads that run attempts from one queue and report them; a thread that hangs can be replaced."""

    def __init__(self, port: Port, count: int, name: str) -> None:
        refuse_queues_of_greenlets(port.name)
        self._port = port
        self._queue: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._name = name
        self._lock = threading.Lock()
        self._guard = Guard("A thread that runs jobs")
        self.put = self._queue.put
        self._threads = [self._started(index) for index in range(count)]

    def _started(self, index: int) -> _Thread:
        one = _Thread(self._port.worker(f"{self._name}-{index}"))
        one.thread = start_guarded(f"evalpool-{one.worker.name}", self._guard, lambda: self._work(one))
        return one

    def _work(self, one: _Thread) -> bool:
        port, get, worker = self._port, self._queue.get, one.worker
        evaluate, report = port.evaluate, port.report
        attempt: Attempt | None = None
        while not one.abandoned:
            try:
                attempt = get()
                if attempt is None:
                    return False
                one.attempt = attempt
                if port.watches_starts:
                    port.started(attempt, worker)
                outcome = evaluate(attempt, worker)
                one.attempt = None
                report([(attempt, outcome)])
                attempt = outcome = None  # type: ignore[assignment]  # keep no object alive while this thread waits
            except BaseException as error:  # noqa: BLE001  this thread has no caller
                self._guard.caught(error)
                lost, attempt, one.attempt = attempt, None, None
                if lost is not None:
                    text = f"evalpool lost the job by an error of its own.\n{describe(error)}"
                    report([(lost, failed(FailureKind.WORKER_DIED, text, worker=worker))])
        return False

    def abandon(self, attempt: Attempt) -> bool:
        """Abandon the thread that runs an attempt and start another one; False if no thread runs it."""
        with self._lock:
            for index, one in enumerate(self._threads):
                if one.attempt is attempt:
                    one.abandoned = True
                    self._threads[index] = self._started(index)
                    break
            else:
                return False
        logger.warning(
            "Thread %s was abandoned and replaced: job %s did not stop when asked. A thread cannot be killed; it "
            "runs in the background until its run-function returns. Use the process backend for jobs that hang.",
            one.worker.name,
            attempt.job.id,
        )
        self._port.report([(attempt, self._port.forced(attempt, "its thread was abandoned", one.worker))])
        return True

    def stop(self) -> None:
        """End the threads; a thread that runs a job ends after it."""
        for _ in self._threads:
            self._queue.put(None)
        for one in self._threads:
            if one.thread is not None and one.attempt is None and one.thread is not threading.current_thread():
                one.thread.join(1.0)


class ThreadBackend(Backend):
    """Runs jobs in threads of this process, one per worker."""

    def start(self, port: Port) -> None:
        self._threads = Threads(port, port.num_workers, "thread")

    def run(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            self._threads.put(attempt)

    def force_stop(self, attempt: Attempt) -> bool:
        return self._threads.abandon(attempt)

    def shutdown(self, now: bool) -> None:
        self._threads.stop()


class ThreadPoolEvaluator(Evaluator):
    """Runs run-functions in threads of this process.

    For work that waits (I/O, subprocesses) or releases the GIL (numpy, most C code). Nothing is pickled. A job that
    exceeds its timeout is reported in time, but its thread cannot be killed: it is abandoned and replaced. A
    run-function that ends its process (segfault, `os._exit`) ends the search, too; use the `ProcessPoolEvaluator` if
    that may happen.
    """

    backend_class = ThreadBackend
