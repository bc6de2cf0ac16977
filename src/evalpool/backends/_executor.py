"""Any `concurrent.futures.Executor`; and, once for every engine with futures, the step from a future to a report."""

from __future__ import annotations

import socket
from concurrent.futures import BrokenExecutor, CancelledError, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from evalpool._interrupts import from_a_handler
from evalpool._patched import refuse_if_patched
from evalpool.backends._remote import Line, RemoteCall, on_our_clock, read_outcome
from evalpool.backends._thread import LocalChannel
from evalpool.errors import BadArgument
from evalpool.evaluator._evaluator import Evaluator
from evalpool.evaluator._parcel import pack
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, Outcome, Worker, failed
from evalpool.worker._call import describe_exception
from evalpool.worker._pickling import dump_whole, unpicklable

if TYPE_CHECKING:
    from evalpool.storage import Sharing

__all__ = ["ExecutorEvaluator"]


class _Unpicklable(Exception):
    """The configuration is; the pool is well."""


class ExecutorEvaluator(Evaluator):
    """Runs run-functions on an executor that the caller made and will shut down: loky, dask, parsl, mpi4py.futures.

    What an executor cannot do, this cannot: a running job is not stopped by force (over its timeout it is reported in
    time, and its slot is free again when it ends), and a dead worker of a standard process pool breaks that pool, so
    that all later jobs fail. The process backend has neither limit.

    Args:
        executor: an object with ``submit(function, *args) -> Future``.
        num_workers: how many jobs are handed over at a time; None for the executor's own number of workers.
    """

    def __init__(
        self, run_function: Any, *, executor: Any = None, num_workers: int | None = None, **kwargs: Any
    ) -> None:
        if not callable(getattr(executor, "submit", None)) or isinstance(executor, type):
            raise BadArgument(
                f"executor is {executor!r}; give an object with submit(function, *args) that returns a future: "
                "ExecutorEvaluator(run, executor=ProcessPoolExecutor(4))."
            )
        self._executor = executor
        self._local = isinstance(executor, ThreadPoolExecutor)
        # The end of one MPI rank is the end of all, and what an executor's threads end is this process.
        self._jobs_are_isolated = not self._local and not type(executor).__module__.startswith("mpi4py")
        if not self._local:
            refuse_if_patched(f"ExecutorEvaluator on a {type(executor).__name__}")
        if num_workers is None:
            num_workers = int(getattr(executor, "_max_workers", None) or 1)
        self._futures: dict[int, Any] = {}
        super().__init__(run_function, num_workers=num_workers, **kwargs)

    def _needed_sharing(self) -> Sharing:
        from evalpool.storage import Sharing

        return Sharing.THREADS if self._local else Sharing.PROCESSES

    def _start(self) -> None:
        self._host = socket.gethostname()
        self._line: Line | None = None
        self._unpicklable = ""
        if self._local:
            self._call = self._call_here
            self._work = self._task()
            self._channel = LocalChannel(self)
            return
        parcel = pack(self)
        if parcel.error:
            self._unpicklable = parcel.error
            return
        self._line = Line(self)
        self._remote = RemoteCall(parcel.task, parcel.storage, parcel.advice, self._line.address, parcel.origin)
        self._call = self._call_there

    def _call_here(self, job: Job[Any]) -> Any:
        return self._executor.submit(self._evaluate, job, job.attempts)

    def _evaluate(self, job: Job[Any], attempt: int) -> Outcome:
        import os
        import threading

        worker = Worker(threading.current_thread().name, self._host, os.getpid())
        outcome = self._work.call(job.number, attempt, job.args, self._channel, job._extra, worker)
        self._channel.forget(job.number, attempt)
        return outcome

    def _call_there(self, job: Job[Any]) -> Any:
        try:
            given = dump_whole((job.args, job._extra or None))
        except BaseException as error:
            if from_a_handler(error):
                raise
            raise _Unpicklable(unpicklable(error)) from error
        return self._executor.submit(self._remote, job.number, job.attempts, given)

    def _dispatch(self, job: Job[Any]) -> None:
        if self._unpicklable:
            self._report(job, failed(FailureKind.UNPICKLABLE, self._unpicklable))
            return
        attempt = job.attempts
        if self._watches_starts:
            self._started(job)
        try:
            future = self._call(job)
        except _Unpicklable as error:
            self._report(job, failed(FailureKind.UNPICKLABLE, str(error)))
            return
        except (BrokenExecutor, RuntimeError) as error:  # broken, or shut down
            self._report(job, failed(FailureKind.WORKER_DIED, self._about_pool(error)))
            return
        self._futures[job.number] = future
        future.add_done_callback(partial(self._on_future, job, attempt))

    def _on_future(self, job: Job[Any], attempt: int, future: Any) -> None:
        """The step from a future to a report; in whichever thread the engine calls."""
        if self._futures.get(job.number) is future:
            del self._futures[job.number]
        try:
            result = future.result()
        except (CancelledError, BrokenExecutor) as error:
            if isinstance(error, BrokenExecutor):
                outcome = failed(FailureKind.WORKER_DIED, self._about_pool(error))
            else:
                outcome = failed(FailureKind.CANCELLED, "cancelled before it ran")
        except BaseException as error:  # noqa: BLE001  an engine may raise anything; it is this job's outcome
            text = f"{type(self._executor).__name__} failed: {describe_exception(error, error.__traceback__)}"
            outcome = failed(FailureKind.WORKER_DIED, text)
        else:
            outcome = result if isinstance(result, Outcome) else self._translated(read_outcome(result))
        if self._line is not None:
            self._line.forget(job.number, attempt)
        self._report(job, outcome, attempt)

    def _translated(self, outcome: Outcome) -> Outcome:
        worker = outcome.worker
        return outcome if worker is None or worker.host == self._host else on_our_clock(outcome)

    def _about_pool(self, error: BaseException) -> str:
        return (
            f"{type(self._executor).__name__} is broken: {type(error).__name__}: {error}. It runs no more jobs; the "
            "process backend replaces a worker that dies and goes on."
        )

    def _interrupt(self, job: Job[Any]) -> bool:
        future = self._futures.get(job.number)
        return future is not None and bool(future.cancel())

    def _stop(self, now: bool) -> None:
        for future in list(self._futures.values()):
            future.cancel()
        if self._started_up and self._line is not None:
            self._line.close()
