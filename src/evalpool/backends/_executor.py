"""The backend on any `concurrent.futures.Executor`; it turns futures into reports for every engine that has futures."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import BrokenExecutor, CancelledError, ThreadPoolExecutor
from functools import partial
from typing import Any

from evalpool._guard import Guard, describe
from evalpool._interrupts import from_a_handler
from evalpool._log import get_logger
from evalpool._patched import refuse_if_patched
from evalpool._text import shown
from evalpool.backends._other_clock import on_our_clock
from evalpool.backends._remote import Line, RemoteCall, read_outcome
from evalpool.errors import BadArgument
from evalpool.evaluator._attempt import Attempt
from evalpool.evaluator._backend import Backend
from evalpool.evaluator._evaluator import Evaluator
from evalpool.evaluator._port import Port
from evalpool.outcomes import FailureKind, Outcome, Worker, failed
from evalpool.worker._call import describe_exception
from evalpool.worker._pickling import dump_whole, unpicklable

__all__ = ["ExecutorBackend", "ExecutorEvaluator"]

logger = get_logger()

OF_A_FUTURE = ("add_done_callback", "result", "cancel")


class _Unpicklable(Exception):
    """The configuration cannot be pickled; nothing is wrong with the executor."""


class ExecutorBackend(Backend):
    """An executor of `concurrent.futures`, or one with the same methods; each attempt is one future.

    Args:
        executor: an object with ``submit(function, *args) -> Future``; the caller must shut it down.
    """

    def __init__(self, executor: Any = None) -> None:
        if not callable(getattr(executor, "submit", None)) or isinstance(executor, type):
            raise BadArgument(
                f"executor is {executor!r}; give an object with submit(function, *args) that returns a future: "
                "ExecutorEvaluator(run, executor=ProcessPoolExecutor(4))."
            )
        self._executor, self._name = executor, type(executor).__name__
        self._is_local = isinstance(executor, ThreadPoolExecutor)
        self.workers_are = "threads" if self._is_local else "processes"
        # If one MPI rank ends, all do; and a job in a thread that ends its process ends this one.
        self.jobs_are_isolated = not self._is_local and not type(executor).__module__.startswith("mpi4py")
        if not self._is_local:
            refuse_if_patched(f"ExecutorEvaluator on a {self._name}")
        self._futures: dict[Attempt, Any] = {}
        self._line: Line | None = None
        self._guard = Guard("Reporting a future's outcome")

    def start(self, port: Port) -> None:
        self._port = port
        self._host = socket.gethostname()
        if self._is_local:
            self._submit = self._submit_here
            return
        setup = port.setup()
        self._line = Line(port)
        self._call = RemoteCall(setup.task, setup.storage, setup.advice, self._line.address, setup.origin)
        self._submit = self._submit_there

    def _submit_here(self, attempt: Attempt) -> Any:
        return self._executor.submit(self._evaluate, attempt)

    def _evaluate(self, attempt: Attempt) -> Outcome:
        return self._port.evaluate(attempt, Worker(threading.current_thread().name, self._host, os.getpid()))

    def _submit_there(self, attempt: Attempt) -> Any:
        try:
            given = dump_whole((attempt.configuration, attempt.extra or None))
        except BaseException as error:
            if from_a_handler(error):
                raise
            raise _Unpicklable(unpicklable(error)) from error
        return self._executor.submit(self._call, attempt.job.number, attempt.number, given)

    def run(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            try:
                self._run(attempt)
            except Exception as error:
                if from_a_handler(error):
                    raise
                self._lose(attempt, error)

    def _run(self, attempt: Attempt) -> None:
        if self._port.watches_starts:
            self._port.started(attempt, None)
        try:
            future = self._submit(attempt)
        except _Unpicklable as error:
            self._port.report([(attempt, failed(FailureKind.UNPICKLABLE, str(error)))])
            return
        except (BrokenExecutor, RuntimeError) as error:  # broken, or shut down
            self._port.report([(attempt, failed(FailureKind.WORKER_DIED, self._about_pool(error)))])
            return
        except BaseException as error:  # an executor may raise anything; it is this job's outcome
            if from_a_handler(error):
                raise
            text = f"{self._name}.submit raised an error.\n{describe_exception(error, error.__traceback__)}"
            self._port.report([(attempt, failed(FailureKind.WORKER_DIED, text))])
            return
        if not all(callable(getattr(future, name, None)) for name in OF_A_FUTURE):
            text = f"{self._name}.submit returned {shown(future)} of type {type(future).__name__}; expected a future"
            text += f", with the methods {', '.join(OF_A_FUTURE)}."
            self._port.report([(attempt, failed(FailureKind.WORKER_DIED, text))])
            return
        self._futures[attempt] = future
        future.add_done_callback(partial(self._on_future, attempt))

    def _on_future(self, attempt: Attempt, future: Any) -> None:
        """Report the outcome of a future; in any thread of the executor."""
        try:
            self._futures.pop(attempt, None)
            outcome = self._outcome(future)
            if self._line is not None:
                self._line.forget(attempt.job.number, attempt.number)
            self._port.report([(attempt, outcome)])
        except BaseException as error:
            self._lose(attempt, error)
            if from_a_handler(error):
                raise

    def _outcome(self, future: Any) -> Outcome:
        try:
            result = future.result()
        except BrokenExecutor as error:
            return failed(FailureKind.WORKER_DIED, self._about_pool(error))
        except CancelledError:
            return failed(FailureKind.CANCELLED, "cancelled before it ran")
        except BaseException as error:  # noqa: BLE001  an executor may raise anything; it is this job's outcome
            text = f"{self._name} failed: {describe_exception(error, error.__traceback__)}"
            return failed(FailureKind.WORKER_DIED, text)
        return result if isinstance(result, Outcome) else self._on_our_clock(read_outcome(result))

    def _lose(self, attempt: Attempt, error: BaseException) -> None:
        """End an attempt after an unexpected error of ours, unless it has ended."""
        self._guard.caught(error)
        text = f"evalpool lost the job by an error of its own.\n{describe(error)}"
        self._port.report([(attempt, failed(FailureKind.WORKER_DIED, text))])

    def _on_our_clock(self, outcome: Outcome) -> Outcome:
        worker = outcome.worker
        return outcome if worker is None or worker.host == self._host else on_our_clock(outcome)

    def _about_pool(self, error: BaseException) -> str:
        return (
            f"{self._name} is broken: {type(error).__name__}: {error}. It runs no more jobs. The "
            "process backend would replace a worker that dies, and continue."
        )

    def force_stop(self, attempt: Attempt) -> bool:
        future = self._futures.get(attempt)
        return future is not None and self._cancel(future)

    def _cancel(self, future: Any) -> bool:
        try:
            return bool(future.cancel())
        except Exception as error:
            if from_a_handler(error):
                raise
            logger.exception("A job that was given to %s could not be cancelled.", self._name)
            return False

    def shutdown(self, now: bool) -> None:
        for future in list(self._futures.values()):
            self._cancel(future)
        if self._line is not None:
            self._line.close()


class ExecutorEvaluator(Evaluator):
    """Runs run-functions on an executor that the caller made and will shut down: loky, dask, parsl, mpi4py.futures.

    It has the limits of the executor. A running job cannot be stopped by force: after its timeout it is reported in
    time, but its slot is free again only when it ends. If a worker of a standard process pool dies, that breaks the
    pool, and all later jobs fail. The process backend has neither limit.

    Args:
        executor: an object with ``submit(function, *args) -> Future``.
        num_workers: how many jobs the executor gets at a time; None for the executor's own number of workers.
    """

    backend_class = ExecutorBackend

    def __init__(
        self, run_function: Any, *, executor: Any = None, num_workers: int | None = None, **kwargs: Any
    ) -> None:
        if num_workers is None:
            num_workers = int(getattr(executor, "_max_workers", None) or 1)
        super().__init__(run_function, num_workers=num_workers, **{"executor": executor, **kwargs})
