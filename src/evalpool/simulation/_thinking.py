"""The virtual seconds of a decision, by the argument `overhead` of the simulated wrapper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from evalpool._clock import perf_counter, thread_time
from evalpool.simulation._seconds import check_overhead
from evalpool.simulation._session import CallerSession

__all__ = ["Overhead", "Thinking"]

Overhead = Literal["measured", "cpu", "none"] | Callable[[int, int], float]


class Thinking:
    """Computes overheads; see the argument `overhead` of `ObjectiveFuncWrapper`."""

    def __init__(self, overhead: Overhead) -> None:
        self._overhead = overhead

    def returned(self, session: CallerSession) -> None:
        """Note that a call returns, so that its caller's think time begins."""
        session.returned = perf_counter()
        if self._overhead == "cpu":
            session.returned_cpu = thread_time()

    def of_call(self, session: CallerSession, wall: float) -> float:
        """Return the virtual seconds of the decision before a call."""
        overhead = self._overhead
        if overhead == "measured":
            return wall
        if overhead == "none":
            return 0.0
        if overhead == "cpu":
            return 0.0 if session.returned is None else max(0.0, thread_time() - session.returned_cpu)
        assert callable(overhead)
        return check_overhead(overhead(session.worker, session.calls))

    def of_decision(self, wall: float, cpu: float, worker: int, call: int) -> float:
        """Return the virtual seconds of a decision of `simulate`."""
        overhead = self._overhead
        if callable(overhead):
            return check_overhead(overhead(worker, call))
        return {"measured": wall, "cpu": cpu, "none": 0.0}[overhead]
