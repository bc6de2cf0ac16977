"""The transport to MPI ranks: messages on our communicators, with polling that slows down while none comes."""

from __future__ import annotations

from evalpool._clock import monotonic
from evalpool._mpi._crew import Crew
from evalpool._mpi._polling import PollingBackoff
from evalpool.backends._mpi._rank import TIMED
from evalpool.backends._pool import _wire
from evalpool.backends._pool._pool_worker import PoolWorker
from evalpool.backends._pool._transport import Pieces, Transport

__all__ = ["MessageTransport"]

MOST_AT_ONCE = 256
"""How many messages are read at most before their outcomes are reported."""


class MessageTransport(Transport):
    """Carries frames to and from the ranks of a crew.

    Args:
        crew: the ranks.
        tag: distinguishes this evaluator's messages from those of others.
        busy_wait: see `MPICommEvaluator`.
    """

    def __init__(self, crew: Crew, tag: int, busy_wait: bool) -> None:
        self._crew, self._tag = crew, tag
        self._status = crew.mpi.Status()
        self._any = crew.mpi.ANY_SOURCE
        self._polling = PollingBackoff(self._look, busy_wait, self._expects, crew.bell(), crew.is_sending)
        self._timed: set[int] = set()  # ranks that were told that jobs have time limits
        self.heard_at = 0.0
        """When the last message of a rank came."""

    def send(self, worker: PoolWorker, message: Pieces) -> bool:
        if self._pool.port.watches_starts and worker.index not in self._timed:
            self._timed.add(worker.index)
            message = [*_wire.frame(TIMED, b""), *message]
        data = message[0] if len(message) == 1 else b"".join(message)
        self._crew.send(self._crew.work, data, worker.index, self._tag)
        if self._polling.dormant:
            self._polling.wake()
        return False

    def tell(self, worker: PoolWorker, pieces: Pieces) -> None:
        self._crew.send(self._crew.orders, b"".join(pieces), worker.index, self._tag)

    def wake(self) -> None:
        self._polling.wake()

    def _look(self) -> bool:
        return bool(self._crew.work.Iprobe(self._any, self._tag, self._status))

    def _expects(self) -> bool:
        """Whether any message may come."""
        workers = list(self._pool.workers.values())
        return any(worker.in_flight or worker.stealing or not worker.ready for worker in workers)

    def poll(self, timeout: float | None) -> bool:
        return self._polling.wait(timeout)

    def handle(self, found: bool) -> None:
        pool = self._pool
        heard: dict[int, list[_wire.Frame]] = {}
        count = 0
        crew, status = self._crew, self._status
        while found and count < MOST_AT_ONCE:
            source = status.Get_source()
            try:
                data = crew.receive(crew.work, status)
                _wire.FrameReader.parse(memoryview(data), heard.setdefault(source, []))
            except BaseException as error:  # noqa: BLE001  such as MemoryError; other ranks' messages are still taken
                pool.went_wrong(pool.workers.get(source), error)
                break
            count += 1
            found = self._look()
        if heard:
            self.heard_at = monotonic()
            pool.broken = ""
        for rank, frames in heard.items():
            worker = pool.workers[rank]
            try:
                pool.hearing.take(worker, frames)
            except BaseException as error:  # noqa: BLE001  a fault of ours, which the caller could not handle
                pool.went_wrong(worker, error)

    def close(self) -> None:
        """Do nothing: the communicators belong to the crew."""
