"""The virtual seconds that a decision takes, as the caller of a simulated wrapper said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from evalpool._clock import perf_counter, thread_time
from evalpool.simulation._seconds import check_overhead
from evalpool.simulation._session import CallerSession

__all__ = ["Overhead", "Thinking"]

Overhead = Literal["measured", "cpu", "none"] | Callable[[int, int], float]


class Thinking:
    """See `overhead` of `ObjectiveFuncWrapper`."""

    def __init__(self, overhead: Overhead) -> None:
        self._overhead = overhead

    def returned(self, session: CallerSession) -> None:
        """A call returns: its caller thinks from now on."""
        session.returned = perf_counter()
        if self._overhead == "cpu":
            session.returned_cpu = thread_time()

    def of_call(self, session: CallerSession, wall: float) -> float:
        """The decision's virtual seconds."""
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
        """The virtual seconds of a decision of `simulate`."""
        overhead = self._overhead
        if callable(overhead):
            return check_overhead(overhead(worker, call))
        return {"measured": wall, "cpu": cpu, "none": 0.0}[overhead]
