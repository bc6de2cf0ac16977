"""Deadlines: one thread per evaluator that sleeps until the next one is due.

The thread is started with the first deadline, so an evaluator without time limits has none. A deadline that is not
needed any more is not removed from the heap: its action checks that when it is due.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from typing import Any

from evalpool._clock import monotonic
from evalpool._guard import Guard, start_guarded
from evalpool._interrupts import defer_signals

__all__ = ["Watchdog"]


class Watchdog:
    """Calls functions at given times, in its own thread. All methods are safe from any thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = (
            threading.RLock()
        )  # we enter the lock, not the condition: Condition.__enter__ is Python code, where a Ctrl-C leaves it locked
        self._condition = threading.Condition(self._lock)
        self._guard = Guard("The thread that keeps deadlines")  # if an action raises, the other deadlines still count
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def after(self, seconds: float, action: Callable[..., None], *args: Any) -> None:
        """Call ``action(*args)`` in `seconds`; costs O(log n) in the number of deadlines."""
        when = monotonic() + max(0.0, seconds)
        with defer_signals(), self._lock:
            if self._closed:
                return
            first = not self._heap or when < self._heap[0][0]
            heapq.heappush(self._heap, (when, next(self._count), action, args))
            if self._thread is None:
                self._thread = start_guarded(self._name, self._guard, self._turn)
            elif first:
                self._condition.notify()

    def close(self) -> None:
        """Drop all deadlines and end the thread; waits for an action that runs."""
        with self._lock:
            self._closed = True
            self._heap.clear()
            self._condition.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _turn(self) -> bool:
        """Wait for the next deadline and do what is due; False at the end."""
        with self._lock:
            while not self._closed:
                if not self._heap:
                    self._condition.wait()
                    continue
                wait = self._heap[0][0] - monotonic()
                if wait <= 0:
                    break
                self._condition.wait(min(wait, threading.TIMEOUT_MAX))
            if self._closed:
                return False
            _, _, action, args = heapq.heappop(self._heap)
        action(*args)
        return True
