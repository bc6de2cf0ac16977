"""The transport to Ray's actors: sockets; large arrays go through shared memory on this host, else the object store."""

from __future__ import annotations

from typing import Any, NamedTuple

from evalpool.backends._pool import _lend, _wire
from evalpool.backends._pool._encoding import Pickled
from evalpool.backends._pool._pool_worker import PoolWorker
from evalpool.backends._pool._sockets import SocketTransport
from evalpool.backends._ray import _ring
from evalpool.backends._ray._store import Shelf

__all__ = ["ActorTransport", "Rings"]


class Rings(NamedTuple):
    """The memory that is shared with an actor of this host."""

    to: _ring.Ring
    from_: _ring.Ring


class ActorTransport(SocketTransport):
    """A socket transport that sends each large job in the fastest way to its worker, chosen when it is sent."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self._shelf = shelf

    def message_of(self, job: Pickled) -> Any:
        return job if _lend.worth_it(job.payload, job.buffers) else _wire.frame(job.kind, job.payload, job.buffers)

    def send(self, worker: PoolWorker, message: Any) -> bool:
        return super().send(worker, self._convey(worker, message) if type(message) is Pickled else message)

    def _convey(self, worker: PoolWorker, large: Pickled) -> Any:
        """Pass a large job to a worker; return what to send on the socket for it."""
        rings = worker.handle.rings
        if rings is not None and worker.link.lender is not None:
            frame = rings.to.put(*large)
            if frame is not None:
                return frame
            lent = _lend.lend(*large)
            if lent is not None and _lend.pass_on(worker.link.lender, lent):
                return lent.frame
        # This call waits in the actor's queue behind the serving call, which returns when it comes to this job.
        worker.handle.call("take", *map(self._shelf.put, large.buffers))
        worker.handle.call("go_on")
        return _wire.frame(_wire.STORED_JOB, large.payload)

    def borrow(self, worker: PoolWorker, head: memoryview) -> _wire.Frame:
        if worker.handle.rings is not None and _ring.is_in_ring(head):
            frame: _wire.Frame = worker.handle.rings.from_.take(head)
            return frame
        return super().borrow(worker, head)
