"""Ways to use an evaluator whose cost is counted, and how calls are counted."""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool import Evaluator
from evalpool.backends._pool import _wire

if TYPE_CHECKING:
    import pytest


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


def calls(action: Callable[[], Any], apart_from: Callable[..., Any] | None = None) -> int:
    """How many functions are called in this thread, C functions included.

    What `apart_from` calls is left out: it polls, and how often goes by how long it waits.
    """
    count = depth = 0
    left_out = apart_from and apart_from.__code__

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count, depth
        if frame.f_code is left_out and event in ("call", "return"):
            depth += 1 if event == "call" else -1
        elif not depth and event in ("call", "c_call"):
            count += 1

    gc.disable()  # its callbacks are nobody's cost
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def least(count: Callable[[], float], limit: float, tries: int = 5) -> float:
    """The least of several counts, or the first within the limit: how many jobs are read at a time goes by the load."""
    found = [count()]
    while found[-1] > limit and len(found) < tries:
        found.append(count())
    return min(found)


def count_traffic(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What goes over a pool's sockets in this process from now on: messages and bytes out, reads in."""
    counted: Counter[str] = Counter()
    send, read = _wire.Outbox.send, _wire.FrameReader.read

    def counting_send(self: Any, pieces: Any) -> bool:
        counted["messages"] += 1
        counted["bytes"] += sum(memoryview(piece).nbytes for piece in pieces)
        return send(self, pieces)

    def counting_read(self: Any, drain: bool = False) -> Any:
        counted["reads"] += 1
        return read(self, drain)

    monkeypatch.setattr(_wire.Outbox, "send", counting_send)
    monkeypatch.setattr(_wire.FrameReader, "read", counting_read)
    return counted


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
