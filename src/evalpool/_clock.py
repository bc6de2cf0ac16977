"""The clocks that evalpool goes by, also in a program that freezes or moves its own.

Tests freeze time: freezegun puts its own functions in the place of `time.monotonic` and `time.time`, in the module
`time` and wherever a loaded module has them. A deadline that is kept by such a clock never comes, and whoever waits for
it waits for ever. What is frozen is what the program reads; deadlines, leases and timestamps go by real time.

So these functions are of a second copy of the module `time`, where nobody looks for them. They cost what the first
ones do.
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
"""Seconds, for durations and deadlines; one clock for all processes of a host (CLOCK_MONOTONIC and its like)."""
perf_counter: Callable[[], float] = _time.perf_counter
"""Seconds, for durations within this process."""
thread_time: Callable[[], float] = _time.thread_time
"""Seconds of CPU that this thread has used."""
unix_time: Callable[[], float] = _time.time
"""Seconds since 1970, as other hosts have them."""
unix_time_ns: Callable[[], int] = _time.time_ns
"""The same in nanoseconds."""

if hasattr(time, "CLOCK_BOOTTIME"):

    def awake_or_not() -> float:
        """Seconds that also pass while the machine is suspended, unlike those of `monotonic`; nobody sets them back."""
        reading: float = _time.clock_gettime(_time.CLOCK_BOOTTIME)
        return reading

else:
    awake_or_not = monotonic


def lead(loop: asyncio.AbstractEventLoop) -> None:
    """Let an event loop of ours go by the real clock: what it is to do later would never come in a frozen one."""
    loop.time = monotonic  # type: ignore[method-assign]
