"""What is sent to a worker once, and what runs there for each job.

::

    evaluator                                worker
      Task(run_function, kwargs, ...) ------> once
      (number, attempt, configuration) -----> task.call(...) -> Outcome

`Task.call` never raises: an exception of the run-function, even `SystemExit` or `KeyboardInterrupt`, is the outcome of
its job. Everything that happens to a job in a worker is in this file, as in `submitit`'s ``core/submission.py``.
"""

from __future__ import annotations

import traceback
import types
from collections.abc import Callable
from math import isfinite
from typing import Any, overload

from evalpool._clock import lead, monotonic
from evalpool._fork import begin_generation, generation
from evalpool._interrupts import ToldToEnd, from_a_handler
from evalpool._log import get_logger
from evalpool.outcomes import FailureKind, JobStatus, Outcome, Worker, WorkerFailure
from evalpool.worker._forked import end_of_child
from evalpool.worker._results import standardise
from evalpool.worker._running_job import JobChannel, RunningJob, current_job

__all__ = ["RELEASE", "Task", "describe_exception", "raised", "release"]

logger = get_logger()

MAX_ERROR_TEXT = 64_000
"""How many characters of a traceback are kept; after a deep recursion it has megabytes."""

SEED_NUMBER = "_evalpool_seed_number"
"""In a job's own keyword arguments: the number of the job whose seed it has. The run-function does not see it."""

RELEASE = "_evalpool_release"
"""The method of our run-functions that is called at the end. A user's class may have a `release` of its own."""

PLAIN = frozenset({float, int, str, tuple, list, dict, type(None)})
"""Types whose values cannot be awaited; looking up `__await__` takes as long as reading the clock."""

running_job = RunningJob._in_worker
set_current, reset_current = current_job.set, current_job.reset
clock = monotonic
"""The clock of start and end: one for all processes of a host (CLOCK_MONOTONIC or similar)."""


class Task:
    """A run-function with everything that is the same for all its jobs.

    Args:
        run_function: ``f(job, **kwargs)``, sync or async.
        kwargs: its keyword arguments, the same for all jobs.
        search: the search's id.
        job_type: ``"hpo"`` or ``"task"``.
        base_seed: the evaluator's seed.
    """

    __slots__ = ("base_seed", "job_type", "kwargs", "lets_interrupts_through", "run_function", "search", "seed")

    def __init__(
        self,
        run_function: Callable[..., Any],
        kwargs: dict[str, Any],
        search: str,
        job_type: str,
        base_seed: int,
    ) -> None:
        self.run_function = run_function
        self.kwargs = kwargs
        self.search = search
        self.job_type = job_type
        self.base_seed = base_seed
        self.seed = (base_seed,)  # of each running job, from which it derives its own if it is asked for it
        self.lets_interrupts_through = False  # True only if jobs run in the caller's own thread

    def __reduce__(self) -> tuple[Any, ...]:
        return Task, (self.run_function, self.kwargs, self.search, self.job_type, self.base_seed)

    @overload
    def call(
        self,
        number: int,
        attempt: int,
        configuration: dict[str, Any],
        channel: JobChannel,
        extra: dict[str, Any] | None = None,
        worker: Worker | None = None,
    ) -> Outcome: ...

    @overload
    def call(
        self,
        number: int,
        attempt: int,
        configuration: dict[str, Any],
        channel: JobChannel,
        extra: dict[str, Any] | None,
        worker: Worker | None,
        quick: Callable[[int, int, float, float, float], None],
    ) -> Outcome | None: ...

    def call(
        self,
        number: int,
        attempt: int,
        configuration: dict[str, Any],
        channel: JobChannel,
        extra: dict[str, Any] | None = None,
        worker: Worker | None = None,
        quick: Callable[[int, int, float, float, float], None] | None = None,
    ) -> Outcome | None:
        """Evaluate one configuration in this thread.

        Args:
            configuration: becomes the running job's own, so give a copy of what others use.
            extra: keyword arguments for this job only.
            quick: ``quick(number, attempt, objective, start, end)`` takes the outcome of a job that returned a finite
                float and said nothing else; then this returns None. Most jobs of some microseconds are of this kind.
        """
        job = running_job(self.search, number, attempt, configuration, channel, self.seed)
        before = set_current((self.search, number))
        here = generation[0] or begin_generation()
        start = clock()
        try:
            if extra is not None:
                value = self.run_function(job, **self._with(extra, job))
            elif self.kwargs:
                value = self.run_function(job, **self.kwargs)
            else:  # a call with an empty dict of keyword arguments takes twice as long
                value = self.run_function(job)
            kind = type(value)
            if kind not in PLAIN and (kind is types.CoroutineType or hasattr(value, "__await__")):
                value = run_to_completion(value)
                kind = type(value)
            if generation[0] != here:
                end_of_child(None)
        except BaseException as exception:
            if generation[0] != here:
                end_of_child(exception)
            if self.lets_interrupts_through and is_interrupt(exception):
                raise
            return raised(exception, job._metadata, start, clock(), worker)
        finally:
            reset_current(before)
        end = clock()
        if quick is not None and kind is float and isfinite(value) and job._metadata is None and not job._told:
            quick(number, attempt, value, start, end)
            return None
        outcome = standardise(value, self.job_type, job._metadata, start, end, worker)
        return outcome._replace(stopped_early=True) if job._told else outcome

    def _with(self, extra: dict[str, Any], job: RunningJob) -> dict[str, Any]:
        """Return the keyword arguments of one call."""
        kwargs = {**self.kwargs, **extra}
        number = kwargs.pop(SEED_NUMBER, None)
        if number is not None:
            job._inherit_seed(number)
        return kwargs

    async def acall(
        self,
        number: int,
        attempt: int,
        configuration: dict[str, Any],
        channel: JobChannel,
        extra: dict[str, Any] | None = None,
        worker: Worker | None = None,
    ) -> Outcome:
        """As `call`, inside a running event loop, so that several jobs interleave."""
        job = running_job(self.search, number, attempt, configuration, channel, self.seed)
        set_current((self.search, number))  # only for this task of the loop, and until its end
        here = generation[0] or begin_generation()
        start = clock()
        try:
            value = self.run_function(job, **self._with(extra or {}, job))
            if hasattr(value, "__await__"):
                value = await value
            if generation[0] != here:
                end_of_child(None)
        except BaseException as exception:
            if generation[0] != here:
                end_of_child(exception)
            if self.lets_interrupts_through and is_interrupt(exception):
                raise
            return raised(exception, job._metadata, start, clock(), worker)
        outcome = standardise(value, self.job_type, job._metadata, start, clock(), worker)
        return outcome._replace(stopped_early=True) if job._told else outcome


def is_interrupt(exception: BaseException) -> bool:
    """Whether an exception was raised by a signal handler (Ctrl-C), and not by a ``raise`` in the run-function.

    The default handler is not Python code: the traceback ends at the instruction that was interrupted. A handler in
    Python is found in the traceback. This is called only after an interrupt, so it costs other jobs nothing.
    """
    trace = exception.__traceback__
    if not isinstance(exception, KeyboardInterrupt) or trace is None:
        return False
    if isinstance(exception, ToldToEnd) or from_a_handler(exception):
        return True
    import dis
    import signal

    handler: Any = signal.getsignal(signal.SIGINT)
    while hasattr(handler, "func"):  # asyncio's is a partial
        handler = handler.func
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    while True:
        if code is not None and trace.tb_frame.f_code is code:
            return True
        if trace.tb_next is None:
            break
        trace = trace.tb_next
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] != "RAISE_VARARGS"


def run_to_completion(awaitable: Any) -> Any:
    """Run an awaitable on a new event loop, in this thread or, if a loop is running here, in another one."""
    import asyncio

    here = generation[0] or begin_generation()

    async def main() -> Any:
        lead(asyncio.get_running_loop())
        try:
            value = await awaitable
        except BaseException as exception:
            if generation[0] != here:  # checked here, because the other thread would not return in a forked child
                end_of_child(exception)
            raise
        if generation[0] != here:
            end_of_child(None)
        return value

    if asyncio._get_running_loop() is None:
        return asyncio.run(main())
    # In a notebook's cell a loop runs in this thread, and it cannot be entered twice.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "evalpool-async") as thread:
        return thread.submit(asyncio.run, main()).result()


def raised(
    exception: BaseException,
    metadata: dict[str, Any] | None,
    start: float,
    end: float,
    worker: Worker | None = None,
) -> Outcome:
    """Return the outcome of a run-function that raised; the traceback begins at the user's code."""
    if isinstance(exception, WorkerFailure):
        passed_on = exception.outcome
        both = {**(metadata or {}), **(passed_on.metadata or {})} or None
        return passed_on._replace(metadata=both, start=start, end=end, worker=worker)
    own = exception.__traceback__
    trace = own.tb_next if own is not None and own.tb_next is not None else own
    kind = FailureKind.RAISED
    name = type(exception).__name__
    error = describe_exception(exception, trace)
    return Outcome(JobStatus.FAILED, f"F_{name}", None, metadata, error, kind, start, end, worker)


def describe_exception(exception: BaseException, trace: types.TracebackType | None) -> str:
    """Return a traceback as text, even if the exception's own methods raise."""
    try:
        text = "".join(traceback.format_exception(type(exception), exception, trace))
    except BaseException as second:  # noqa: BLE001  an exception that cannot be printed is still reported
        text = f"{type(exception).__qualname__} (it could not be printed: {type(second).__name__})"
    if len(text) > MAX_ERROR_TEXT:
        half = MAX_ERROR_TEXT // 2
        text = f"{text[:half]}\n... {len(text) - MAX_ERROR_TEXT} characters left out ...\n{text[-half:]}"
    return text


def release(run_function: Any) -> None:
    """Tell a run-function that it will not be called any more, if it is one of ours, such as a profiled function.

    Its errors are logged, because results must not be lost if a clean-up fails.
    """
    try:
        own_release = getattr(run_function, RELEASE, None)
    except Exception:  # noqa: BLE001  an object of the user, whose `__getattr__` raises: none of ours
        return
    if callable(own_release):
        try:
            own_release()
        except Exception:
            logger.exception("The release of a run-function of type %s failed.", type(run_function).__qualname__)
