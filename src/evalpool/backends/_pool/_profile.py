"""`profile`: measures the time and memory of a run-function, and can limit its memory."""

from __future__ import annotations

import functools
import importlib
import inspect
import threading
from collections.abc import Callable
from typing import Any, overload

from evalpool._checks import check_real
from evalpool._clock import monotonic, unix_time
from evalpool.errors import BadArgument
from evalpool.outcomes import Failure, FailureKind, Outcome, WorkerFailure, failed

__all__ = ["Profiled", "profile"]


@overload
def profile(function: Callable[..., Any], /) -> Profiled: ...
@overload
def profile(
    *,
    memory: bool = False,
    memory_limit: float = -1,
    memory_tracing_interval: float = 0.1,
    raise_exception: bool = False,
    exit_timeout: float = 5.0,
) -> Callable[[Callable[..., Any]], Profiled]: ...
def profile(
    function: Callable[..., Any] | None = None,
    /,
    *,
    memory: bool = False,
    memory_limit: float = -1,
    memory_tracing_interval: float = 0.1,
    raise_exception: bool = False,
    exit_timeout: float = 5.0,
) -> Any:
    """Decorate a run-function, sync or async, so that its time and memory are measured.

    The decorated function returns ``{"output": <as returned>, "metadata": {"timestamp_start", "timestamp_end",
    "memory"}}``, which evaluators take apart. Bare or called:

    >>> @profile
    ... def run(job):
    ...     return job["x"] + 1
    >>> from evalpool import RunningJob
    >>> run(RunningJob(parameters={"x": 1}))["output"]
    2

    To measure memory, the function runs in a helper process: one per thread that calls it, reused from call to call.
    So only the job's own memory is measured, a limit can be enforced, and a job that dies of it ends nothing else.

    Args:
        memory: whether to measure the peak of the resident memory of the job's whole process tree, in bytes. The kernel
            gives the peak of the job's own process, so no spike is missed; its children are checked at each interval.
        memory_limit: bytes; above it the job is stopped with all its children and ends as ``F_memory_limit_exceeded``.
            Implies `memory`. -1 for no limit.
        memory_tracing_interval: seconds between two checks.
        raise_exception: whether to raise at the limit, instead of returning the failure as output.
        exit_timeout: seconds that helper processes may take to end when the evaluator is closed. In this time they call
            what the function registered with `atexit`. One that takes longer is killed, with a warning.

    Raises:
        BadArgument: an argument has a wrong value.
    """
    if memory_limit != -1 and (isinstance(memory_limit, bool) or not memory_limit > 0):
        raise BadArgument(f"memory_limit is {memory_limit!r}; give bytes above 0, or -1 for no limit.")
    if not memory_tracing_interval > 0:
        raise BadArgument(f"memory_tracing_interval is {memory_tracing_interval!r}; give seconds above 0.")
    exit_timeout = check_real("exit_timeout", exit_timeout, least=0)

    def decorate(function: Callable[..., Any]) -> Profiled:
        if not callable(function):
            raise BadArgument(f"profile decorates a run-function; got {function!r}, which cannot be called.")
        is_async = inspect.iscoroutinefunction(function)
        cls = ProfiledAsync if is_async else Profiled
        limit = None if memory_limit == -1 else float(memory_limit)
        return cls(
            function, bool(memory) or limit is not None, limit, memory_tracing_interval, raise_exception, exit_timeout
        )

    return decorate if function is None else decorate(function)


class Profiled:
    """A measured run-function; see `profile`."""

    def __init__(
        self,
        function: Callable[..., Any],
        memory: bool,
        limit: float | None,
        interval: float,
        raise_exception: bool,
        exit_timeout: float,
    ) -> None:
        functools.update_wrapper(self, function)  # first, as it copies the attributes of a callable object, too
        self._options = (function, memory, limit, interval, raise_exception, exit_timeout)
        self._function, self._memory, self._limit, self._interval, self._raise, self._exit_timeout = self._options
        self._helpers: list[Any] = []  # idle ones
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._options  # helpers stay where they were started

    def __call__(self, job: Any, **kwargs: Any) -> Any:
        start = monotonic()
        if self._memory:
            return self._measure(job, kwargs, start)
        return self._result(self._function(job, **kwargs), start)

    @staticmethod
    def _result(output: Any, start: float, **facts: Any) -> dict[str, Any]:
        # Seconds since the epoch, for direct calls; an evaluator replaces them by times of its own clock.
        wall = unix_time() - monotonic()
        times = {"timestamp_start": start + wall, "timestamp_end": monotonic() + wall}
        return {"output": output, "metadata": {**times, **facts}}

    def _measure(self, job: Any, kwargs: dict[str, Any], start: float) -> Any:
        """Call the function in a helper process and measure its memory meanwhile."""
        with self._lock:
            helper = self._helpers.pop() if self._helpers else None
        if helper is None:
            isolated = importlib.import_module("evalpool.backends._pool._isolated")
            helper = isolated.Helper(self._function)
        alive = False
        try:
            outcome, peak, alive = helper.call(job, kwargs, self._limit, self._interval)
        finally:
            if alive:
                with self._lock:
                    self._helpers.append(helper)
            else:
                helper.close()
        return self._conclude(outcome, peak, start)

    def _conclude(self, outcome: Outcome, peak: int, start: float) -> Any:
        facts = dict(outcome.metadata or {})
        if peak:  # 0: the process had ended before the first check
            facts["memory"] = peak
        if outcome.kind is None:
            return self._result(outcome.objective, start, **facts)
        if outcome.kind is FailureKind.MEMORY_LIMIT and not self._raise:
            return self._result(Failure(outcome.kind, outcome.error or ""), start, **facts)
        raise WorkerFailure(outcome._replace(metadata=facts))

    def _evalpool_release(self) -> None:
        """End the helper processes that are idle."""
        with self._lock:
            helpers, self._helpers = self._helpers, []
        if helpers:
            importlib.import_module("evalpool.backends._pool._isolated").end_idle(helpers, self._exit_timeout)


class ProfiledAsync(Profiled):
    """As `Profiled`, for an async function."""

    async def __call__(self, job: Any, **kwargs: Any) -> Any:
        start = monotonic()
        if not self._memory:
            return self._result(await self._function(job, **kwargs), start)
        import asyncio

        return await asyncio.to_thread(self._measure, job, kwargs, start)


def memory_failure(limit: float, peak: int, start: float) -> Outcome:
    """Return the outcome of a job that exceeded its memory limit."""
    text = f"the job's processes used {peak} bytes, and its memory limit is {limit:.0f}; they were stopped"
    return failed(FailureKind.MEMORY_LIMIT, text, start=start, end=monotonic())
