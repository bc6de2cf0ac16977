"""How a pool speaks with its workers, whatever carries the bytes."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from evalpool.backends._pool import _wire
from evalpool.backends._pool._encoding import Pickled

if TYPE_CHECKING:
    from evalpool.backends._pool._pool import Pool
    from evalpool.backends._pool._prefetcher import PoolWorker

__all__ = ["Pieces", "Transport"]

Pieces = list[bytes | memoryview]
"""The pieces of frames, to be sent one after the other."""


class Transport(abc.ABC):
    """Carries frames (`_wire`) to workers and from them, in order. What it hears it gives to `pool.hearing`.

    `send` and `tell` never wait for the worker. All else but `wake` is called by whoever does the I/O.
    """

    def open(self, pool: Pool) -> None:
        """Called once, before anything else."""
        self._pool = pool

    @abc.abstractmethod
    def send(self, worker: PoolWorker, message: Any) -> bool:
        """Send the pieces of frames, or what `message_of` made. Under the pool's lock of sending.

        Returns whether it is known that the worker has ended, and reads nothing of this.
        """

    @abc.abstractmethod
    def tell(self, worker: PoolWorker, pieces: Pieces) -> None:
        """Send a small frame that does not wait behind jobs. Under the pool's lock."""

    @abc.abstractmethod
    def poll(self, timeout: float | None) -> Any:
        """Wait until something happens, or for so many seconds; returns what `handle` takes. Interrupts come here."""

    @abc.abstractmethod
    def handle(self, events: Any) -> None:
        """Read what workers have sent."""

    @abc.abstractmethod
    def wake(self) -> None:
        """Let `poll` return; any thread."""

    @abc.abstractmethod
    def close(self) -> None:
        """No worker is left."""

    def add(self, worker: PoolWorker) -> None:
        """Begin to hear a worker."""

    def hold(self, worker: PoolWorker) -> None:
        """Hear nothing more of a worker whose connection has ended."""

    def drain(self, worker: PoolWorker) -> None:
        """Take all that a worker has said by now, which has ended or is silent."""

    def left_unread(self, worker: PoolWorker) -> bool:
        """Is it known that a worker, which has ended, had not read all that it was sent?"""
        return False

    def can_hold(self, worker: PoolWorker) -> bool:
        """May a worker hold outcomes of `_wire.SHORT_JOBS`, so that several leave together?"""
        return False

    def look(self, worker: PoolWorker) -> None:
        """Take outcomes that a worker holds (`_wire.SHORT_JOBS`) beside a job that takes long, or has left behind."""

    def drop(self, worker: PoolWorker) -> None:
        """Let go of the connection to a worker that has ended."""

    def close_in_fork(self) -> None:
        """In a forked child of this process: close all connections, without ending any. No lock, no I/O."""

    def message_of(self, job: Pickled) -> Any:
        """What is sent for a job that was encoded by itself: its bytes, unless large arrays go another way. No lock."""
        return _wire.frame(job.kind, job.payload, job.buffers)

    def borrow(self, worker: PoolWorker, head: memoryview) -> _wire.Frame:
        """The frame that a worker has lent (`_wire.LENT`). Raises `OSError` if it cannot be had."""
        raise OSError("this transport lends nothing")
