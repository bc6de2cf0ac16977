"""How a running job reaches the evaluator where both share one process's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalpool.evaluator._port import Port

__all__ = ["LocalChannel"]


class LocalChannel:
    """The channel of running jobs that share the evaluator's memory; `Port.evaluate` has one.

    Attributes:
        stops: job numbers and attempts that a stopper wants to end.
    """

    __slots__ = ("_port", "stops")

    def __init__(self, port: Port) -> None:
        self._port: Port = getattr(port, "_port", port)  # given an evaluator, use its port
        self.stops: set[tuple[int, int]] = set()

    def record(self, number: int, attempt: int, budget: float, objective: Any, runtime: Any = None) -> None:
        found = self._port.find(number, attempt)
        if found is None or self._port.recorded(found, budget, objective, runtime):
            self.stops.add((number, attempt))

    def stopped(self, number: int, attempt: int) -> bool:
        return (number, attempt) in self.stops or self.must_end(number, attempt)

    def must_end(self, number: int, attempt: int) -> bool:
        found = self._port.find(number, attempt)
        return found is None or self._port.asked_to_stop(found)

    def storage(self) -> Any:
        return self._port.storage

    def forget(self, number: int, attempt: int) -> None:
        """Drop what is kept of an attempt that has ended."""
        if self.stops:
            self.stops.discard((number, attempt))
