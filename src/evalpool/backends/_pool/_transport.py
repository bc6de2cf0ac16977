"""The interface through which a pool exchanges frames with its workers, over sockets or messages."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from evalpool.backends._pool import _wire
from evalpool.backends._pool._encoding import Pickled

if TYPE_CHECKING:
    from evalpool.backends._pool._pool import Pool
    from evalpool.backends._pool._pool_worker import PoolWorker

__all__ = ["Pieces", "Transport"]

Pieces = list[bytes | memoryview]
"""The pieces of frames, to be sent one after the other."""


class Transport(abc.ABC):
    """Carries frames (`_wire`) to workers and from them, in order. It gives the frames it reads to `pool.hearing`.

    `send` and `tell` never wait for the worker. The thread that does the I/O calls all other methods except `wake`.
    """

    def open(self, pool: Pool) -> None:
        """Begin to work for this pool. Called once, before all other methods."""
        self._pool = pool

    @abc.abstractmethod
    def send(self, worker: PoolWorker, message: Any) -> bool:
        """Send the pieces of frames, or a message that `message_of` made. Called under the pool's lock `sending`.

        Returns whether it is known that the worker has ended, and reads nothing of this.
        """

    @abc.abstractmethod
    def tell(self, worker: PoolWorker, pieces: Pieces) -> None:
        """Send a small frame that does not wait behind jobs. Called under the pool's lock."""

    @abc.abstractmethod
    def poll(self, timeout: float | None) -> Any:
        """Wait until something arrives, at most `timeout` seconds. Return the events for `handle`.

        Signal handlers may raise here.
        """

    @abc.abstractmethod
    def handle(self, events: Any) -> None:
        """Read the frames that workers have sent."""

    @abc.abstractmethod
    def wake(self) -> None:
        """Let `poll` return. Any thread."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release everything, once no worker is left."""

    def add(self, worker: PoolWorker) -> None:
        """Begin to read from a worker."""

    def hold(self, worker: PoolWorker) -> None:
        """Stop reading from a worker whose connection has ended."""

    def drain(self, worker: PoolWorker) -> None:
        """Read all that a worker has sent until now, which has ended or is silent."""

    def left_unread(self, worker: PoolWorker) -> bool:
        """Whether it is known that a worker, which has ended, had not read all that it was sent."""
        return False

    def can_hold(self, worker: PoolWorker) -> bool:
        """Whether a worker may hold outcomes of `_wire.SHORT_JOBS`, to send several together."""
        return False

    def look(self, worker: PoolWorker) -> None:
        """Read outcomes that a worker holds (`_wire.SHORT_JOBS`) while it runs a long job, or held when it ended."""

    def drop(self, worker: PoolWorker) -> None:
        """Close the connection to a worker that has ended."""

    def close_in_fork(self) -> None:
        """In a forked child: close this process's copies of all connections, without ending them. No lock, no I/O."""

    def message_of(self, job: Pickled) -> Any:
        """Return the message for a job that was encoded by itself; large arrays may go another way. No lock is held."""
        return _wire.frame(job.kind, job.payload, job.buffers)

    def borrow(self, worker: PoolWorker, head: memoryview) -> _wire.Frame:
        """Return the frame that a worker has lent (`_wire.LENT`). Raises `OSError` if it cannot be read."""
        raise OSError("this transport lends nothing")
