"""`profile` as there: over evalpool's, with the argument `register`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import evalpool
from evalpool.compat.deephyper.evaluator._running_job import RunningJob, adapted

__all__ = ["Profiled", "profile"]


def profile(
    _func: Callable[..., Any] | None = None,
    *,
    memory: bool = False,
    memory_limit: float = -1,
    memory_tracing_interval: float = 0.1,
    raise_exception: bool = False,
    register: bool = True,
) -> Any:
    """Decorate a run-function, sync or async, so that its time and memory are measured; see `evalpool.profile`.

    Args:
        register: taken and not used: there it is for functions that a process could not import, and here all travel by
            value.
    """
    options = {
        "memory": memory,
        "memory_limit": memory_limit,
        "memory_tracing_interval": memory_tracing_interval,
        "raise_exception": raise_exception,
    }

    def decorate(function: Callable[..., Any]) -> Profiled:
        return (ProfiledAsync if inspect.iscoroutinefunction(function) else Profiled)(function, options)

    return decorate if _func is None else decorate(_func)


class Profiled:
    """A run-function that is measured. It may be called by hand, with any arguments."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self._function, self._options = function, options
        self._measured: Any = evalpool.profile(**options)(adapted(function, False))
        functools.update_wrapper(self, function)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._function, self._options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and isinstance(args[0], RunningJob):
            return self._measured(args[0]._core, **kwargs)
        return evalpool.profile(**self._options)(_bound(self._function, args, kwargs))({})

    def release(self) -> None:
        """End the helper processes that are idle."""
        self._measured.release()


class ProfiledAsync(Profiled):
    """As `Profiled`, of an async function."""

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return await super().__call__(*args, **kwargs)


def _bound(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
    """A call by hand, with all its arguments, as a run-function."""
    if not inspect.iscoroutinefunction(function):
        return lambda job: function(*args, **kwargs)

    async def bound(job: Any) -> Any:
        return await function(*args, **kwargs)

    return bound
