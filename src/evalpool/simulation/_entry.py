"""One entry into the coordinator of a simulated run."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalpool.simulation._coordinator import Coordinator

__all__ = ["Entered"]


class Entered:
    """Holds the lock for one entry, and lets happen what can happen before it goes."""

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
        coordinator.see_off()  # who left when the lock was taken
