"""One entry into a coordinator: takes its lock, and does afterwards everything that is possible then."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalpool.simulation._coordinator import Coordinator

__all__ = ["Entered"]


class Entered:
    """A context that holds the coordinator's lock, and calls `run_pump` before it releases the lock."""

    __slots__ = ("_coordinator",)

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    def __enter__(self) -> None:
        self._coordinator.lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        coordinator = self._coordinator
        try:
            if kind is None:
                coordinator.run_pump()
        finally:
            coordinator.lock.release()
        coordinator.handle_departures()  # callers that left while the lock was held
