"""Ways to use an evaluator whose cost is counted, and how calls are counted."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

from evalpool import Evaluator


def run(job: Any) -> float:
    return 2.0 * job["x"]


def configurations(count: int) -> list[dict[str, Any]]:
    return [{"x": n, "y": 0.5, "z": "text"} for n in range(count)]


def in_bulk(evaluator: Evaluator, count: int) -> None:
    """Submit all, gather all."""
    evaluator.submit(configurations(count))
    assert len(evaluator.gather("ALL")) == count


def as_a_search(evaluator: Evaluator, count: int) -> None:
    """Four in flight; as many new ones as came back."""
    evaluator.submit(configurations(4))
    found, submitted = 0, 4
    while found < count:
        jobs = len(evaluator.gather("BATCH", 1))
        found += jobs
        if submitted < count:
            evaluator.submit(configurations(min(jobs, count - submitted)))
            submitted += min(jobs, count - submitted)


def as_an_iterator(evaluator: Evaluator, count: int) -> None:
    """`as_completed` over all."""
    assert sum(1 for _ in evaluator.as_completed(configurations(count), max_pending=8)) == count


def cancelling(evaluator: Evaluator, count: int) -> None:
    """Half of them are cancelled before they run."""
    jobs = evaluator.submit(configurations(count))
    assert sum(job.cancel() for job in jobs[::2]) == count // 2
    assert len(evaluator.gather("ALL")) == count


def calls(action: Callable[[], Any]) -> int:
    """How many functions are called in this thread, C functions included."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    gc.disable()  # its callbacks are nobody's cost
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


_real_lock = threading.Lock


class CountingLock:
    """A lock that knows how often it was taken. A real one does the work."""

    taken = 0

    def __init__(self) -> None:
        self._lock = _real_lock()
        self.locked, self.release = self._lock.locked, self._lock.release

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        CountingLock.taken += 1
        return self._lock.acquire(blocking, timeout)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()
