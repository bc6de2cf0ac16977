"""The clocks of evalpool, which run even in a program that freezes or changes its own.

Tests freeze time: freezegun replaces `time.monotonic` and `time.time` in the module `time` and in every loaded module.
With such a clock a deadline never comes, and a thread that waits for it waits for ever. Only the times that the program
reads may be frozen; deadlines, leases and timestamps use real time.

So these functions are those of a second copy of the module `time`, which such libraries do not find. They are as fast
as the first ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["awake_or_not", "lead", "monotonic", "perf_counter", "thread_time", "unix_time", "unix_time_ns"]


def _copy_of_time() -> ModuleType:
    spec = time.__spec__
    assert spec is not None
    assert spec.loader is not None
    module = spec.loader.create_module(spec)
    assert module is not None
    spec.loader.exec_module(module)
    return module


_time = _copy_of_time()

monotonic: Callable[[], float] = _time.monotonic
"""Seconds, for durations and deadlines; one clock for all processes of a host (CLOCK_MONOTONIC or similar)."""
perf_counter: Callable[[], float] = _time.perf_counter
"""Seconds, for durations within this process."""
thread_time: Callable[[], float] = _time.thread_time
"""Seconds of CPU that this thread has used."""
unix_time: Callable[[], float] = _time.time
"""Seconds since 1970, which can be compared with other hosts'."""
unix_time_ns: Callable[[], int] = _time.time_ns
"""The same in nanoseconds."""

if hasattr(time, "CLOCK_BOOTTIME"):

    def awake_or_not() -> float:
        """Return seconds that, unlike `monotonic`, also pass while the machine is suspended; never set back."""
        reading: float = _time.clock_gettime(_time.CLOCK_BOOTTIME)
        return reading

else:
    awake_or_not = monotonic


def lead(loop: asyncio.AbstractEventLoop) -> None:
    """Make an event loop of ours use the real clock: with a frozen clock its timers would never fire."""
    loop.time = monotonic  # type: ignore[method-assign]
