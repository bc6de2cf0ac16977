"""`profile` as there: over evalpool's, with the argument `register`; what it returns is a function, sync or async."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import evalpool
from evalpool.compat.deephyper.evaluator._running_job import RunningJob, adapted
from evalpool.worker._call import RELEASE

__all__ = ["is_profiled", "profile"]

MARK = "_is_profiled"


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

    By hand it may be called with any arguments.

    Args:
        register: taken and not used: there it is for functions that a process could not import, and here all travel by
            value.
    """
    measuring = evalpool.profile(
        memory=memory,
        memory_limit=memory_limit,
        memory_tracing_interval=memory_tracing_interval,
        raise_exception=raise_exception,
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        measured: Any = measuring(_on_core(function))

        def call(*args: Any, **kwargs: Any) -> Any:
            if len(args) == 1 and isinstance(args[0], RunningJob):
                return measured(args[0]._core, **kwargs)
            return measuring(_bound(function, args, kwargs))({})

        decorated = _as_it_is(function, call)
        functools.update_wrapper(decorated, function)
        setattr(decorated, MARK, True)
        setattr(decorated, RELEASE, measured._evalpool_release)
        return decorated

    return decorate if _func is None else decorate(_func)


def is_profiled(function: Any) -> bool:
    """Is this a function that was decorated by `profile`?"""
    return bool(getattr(function, MARK, False))


def _as_it_is(function: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns what `call` does, a coroutine function if `function` is one."""
    if not inspect.iscoroutinefunction(function):

        def decorated(*args: Any, **kwargs: Any) -> Any:
            return call(*args, **kwargs)

        return decorated

    async def adecorated(*args: Any, **kwargs: Any) -> Any:
        return await call(*args, **kwargs)

    return adecorated


def _on_core(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function for running jobs of evalpool's."""
    return _as_it_is(function, adapted(function))


def _bound(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
    """A call by hand, with all its arguments, as a run-function."""
    return _as_it_is(function, lambda job: function(*args, **kwargs))
