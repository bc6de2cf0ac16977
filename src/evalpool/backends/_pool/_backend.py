"""A pool as the engine of an evaluator."""

from __future__ import annotations

import abc
import pickle
from typing import Any, ClassVar

from evalpool.backends._pool import _lend, _wire
from evalpool.backends._pool._encoding import Pickled
from evalpool.backends._pool._launcher import Launcher
from evalpool.backends._pool._logs import levels
from evalpool.backends._pool._pool import Pool
from evalpool.backends._pool._sockets import SocketTransport
from evalpool.backends._pool._transport import Transport
from evalpool.batch._deadline import heard_by_the_search
from evalpool.evaluator._attempt import Attempt
from evalpool.evaluator._backend import Backend, refuse_hidden_methods
from evalpool.evaluator._port import Port, Turn

__all__ = ["LaunchedBackend", "PoolBackend"]


class PoolBackend(Backend):
    """The base of engines with a pool; an engine implements `make_pool`."""

    jobs_are_isolated = True
    pool: Pool | None = None

    @abc.abstractmethod
    def make_pool(self, port: Port) -> Pool:
        """Make the pool, which starts its workers."""

    def start(self, port: Port) -> None:
        slots = port.num_workers
        self.pool = self.make_pool(port)
        port.add_slots(-slots)  # each worker adds its slots when it has started up

    def run(self, attempts: list[Attempt]) -> None:
        assert self.pool is not None
        self.pool.run(attempts)

    def wait(self, turn: Turn) -> bool:
        return self.pool is not None and self.pool.wait(turn)

    def ask_to_stop(self, attempt: Attempt) -> None:
        if self.pool is not None:
            self.pool.ask_to_stop(attempt)

    def force_stop(self, attempt: Attempt) -> bool:
        # After `shutdown` its worker is ended, if that can be done. A timer may call this at that moment.
        return self.pool is None or self.pool.force_stop(attempt)

    def begin_to_close(self) -> None:
        if self.pool is not None:
            self.pool.begin_to_close()

    def shutdown(self, now: bool) -> None:
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.shutdown()


class LaunchedBackend(PoolBackend):
    """An engine whose workers are processes that a launcher starts, with connections over sockets.

    Args:
        **own: the arguments of the launcher.
    """

    launcher_class: ClassVar[type[Launcher]]
    thread_name: ClassVar[str] = "evalpool-pool-io"

    def __init__(self, **own: Any) -> None:
        self._launcher = self.launcher_class(**own)
        refuse_hidden_methods(self._launcher, Launcher)
        self.workers_are = self._launcher.workers_are

    def make_pool(self, port: Port) -> Pool:
        transport = SocketTransport()
        return Pool(port, self._launcher, transport, self.thread_name, lambda: self._setup(port, transport))

    @staticmethod
    def _setup(port: Port, transport: Transport) -> Any:
        """Return the message that sets up a worker."""
        large: list[pickle.PickleBuffer] = []
        packed = port.setup(large.append)
        setup = {
            "origin": packed.origin,
            "task": packed.task,
            "buffers": large,
            "storage": packed.storage,
            "advice": packed.advice,
            "decides": port.decides,
            "lends": True,
            "levels": levels(),
            "signals": heard_by_the_search(),
        }
        message = transport.message_of(Pickled(_wire.SETUP, (-1, 0), *_wire.dump(setup)))
        if not isinstance(message, _lend.Lent):
            # A copy, so that workers that start later get the run-function as it is now.
            message = [bytes(piece) for piece in message]
        return message
