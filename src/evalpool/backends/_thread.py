"""The backend on threads of this process.

It does not use `concurrent.futures`, whose threads cannot be abandoned: a thread that hangs would keep its place for
ever and block the interpreter's end.
"""

from __future__ import annotations

import contextlib
import queue
import threading

from evalpool._guard import Guard, describe, start_guarded
from evalpool._interrupts import defer_signals
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
    """Some threads that run attempts from one queue and report them; a thread that hangs can be replaced.

    They are started by the first `run`, or by `fill`. If the system refuses to start one ("can't start new thread"),
    its place is vacant until one can be started; with no thread at all, attempts fail with the reason.
    """

    def __init__(self, port: Port, count: int, name: str) -> None:
        refuse_queues_of_greenlets(port.name)
        self._port = port
        self._queue: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._name = name
        self._lock = threading.Lock()
        self._guard = Guard("A thread that runs jobs")
        self._count = self._slots = count
        self._threads: dict[int, _Thread] = {}
        self._vacant = list(range(count))

    def run(self, attempts: list[Attempt]) -> None:
        """Have attempts run; each has a free slot."""
        put = self._queue.put
        for attempt in attempts:
            put(attempt)
        if self._vacant:  # after `put`: whoever finds no thread fails what is in the queue by then
            self.fill()

    def fill(self) -> Exception | None:
        """Start a thread in each vacant place; return the error if that failed. There are as many slots as threads."""
        error: Exception | None = None
        lost: list[Attempt | None] = []
        with defer_signals(), self._lock:
            while self._vacant and error is None:
                try:
                    self._threads[self._vacant[0]] = self._started(self._vacant[0])
                    del self._vacant[0]
                except Exception as refused:  # noqa: BLE001  whatever it is, the jobs must not wait for a thread
                    error = refused
            change = max(1, len(self._threads)) - self._slots
            self._slots += change
            if not self._threads:
                with contextlib.suppress(queue.Empty):
                    while True:
                        lost.append(self._queue.get_nowait())
        if change:
            self._port.add_slots(change)
        if error is not None:
            outcome = failed(FailureKind.WORKER_DIED, f"No thread could be started for the job. {_refusal(error)}")
            self._port.report([(attempt, outcome) for attempt in lost if attempt is not None])
        return error

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
            for index, one in self._threads.items():
                if one.attempt is attempt:
                    one.abandoned = True
                    self._vacant.append(index)
                    del self._threads[index]
                    break
            else:
                return False
        error = self.fill()
        logger.warning(
            "Thread %s was abandoned and %s: job %s did not stop when asked. A thread cannot be killed; it "
            "runs in the background until its run-function returns. Use the process backend for jobs that hang.",
            one.worker.name,
            "replaced" if error is None else f"could not be replaced ({_refusal(error)})",
            attempt.job.id,
        )
        self._port.report([(attempt, self._port.forced(attempt, "its thread was abandoned", one.worker))])
        return True

    def stop(self) -> None:
        """End the threads; a thread that runs a job ends after it."""
        for _ in range(self._count):
            self._queue.put(None)
        for one in list(self._threads.values()):
            if one.thread is not None and one.attempt is None and one.thread is not threading.current_thread():
                one.thread.join(1.0)


def _refusal(error: Exception) -> str:
    """Say why no thread could be started, and what to do if that is the limit of threads."""
    text = f"{type(error).__name__}: {error}."
    if isinstance(error, RuntimeError):
        text += (
            " If a limit of threads is reached (ulimit -u, pids.max of the container), raise it or use fewer workers"
        )
        text += "; jobs that hang keep their threads, unless they run on the process backend."
    return text


class ThreadBackend(Backend):
    """Runs jobs in threads of this process, one per worker."""

    def start(self, port: Port) -> None:
        self._threads = Threads(port, port.num_workers, "thread")
        error = self._threads.fill()
        if error is not None:
            logger.warning(
                "Not all of %d threads could be started; that is tried again with each job. %s",
                port.num_workers,
                _refusal(error),
            )

    def run(self, attempts: list[Attempt]) -> None:
        self._threads.run(attempts)

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
