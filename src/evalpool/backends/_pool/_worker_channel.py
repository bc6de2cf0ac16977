"""The channel of the running job in a worker: its records go to the pool, requests to stop and decisions come back.

`WorkerChannel` knows what was sent, answered and asked. A subclass sends the bytes: `SocketChannel` on the sockets of
a worker process; an MPI rank has its own.
"""

from __future__ import annotations

import abc
import contextlib
import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from evalpool.backends._pool import _lend, _wire

if TYPE_CHECKING:
    from evalpool.backends._pool._held import HeldOutcomes
    from evalpool.backends._pool._memory_files import MemoryFiles

__all__ = ["SocketChannel", "WorkerChannel"]


class WorkerChannel(abc.ABC):
    """The channel of the running job in a worker. Subclasses send the bytes, each engine in its own way."""

    def __init__(self, decides: bool, storage: Any, advice: str) -> None:
        self._decides = decides  # whether the evaluator has a stopper, so that each record is answered
        self._storage, self._advice = storage, advice
        self.pickled_storage: bytes | None = None  # opened when it is first used: most run-functions do not use it
        self._changed = threading.Condition()
        self._stops: set[tuple[int, int]] = set()
        self._requests: set[tuple[int, int]] = set()  # requests to stop that did not come from a stopper
        self._sent: dict[tuple[int, int], int] = {}
        self._answered: dict[tuple[int, int], int] = {}
        self.gone = False

    @abc.abstractmethod
    def send(self, pieces: list[bytes | memoryview]) -> None:
        """Send a frame. Thread-safe, as run-functions may record from their own threads."""

    @abc.abstractmethod
    def send_bytes(self, data: bytes) -> None:
        """Send a frame that consists of one piece."""

    def send_fast(self, number: int, attempt: int, objective: float, start: float, end: float) -> None:
        """Send the outcome of a job that returned only a float."""
        self.send_bytes(_wire.fast_outcome(number, attempt, objective, start, end))

    def together(self) -> AbstractContextManager[None]:
        """Return a context in which outcomes of short jobs may be sent together, if the engine can do that."""
        return contextlib.nullcontext()

    def send_large(self, kind: int, job: tuple[int, int], payload: bytes, buffers: list[memoryview]) -> None:
        """Send a frame about a job, however large; an engine with another way for large arrays overrides this."""
        self.send(_wire.frame(kind, payload, buffers))

    def record(self, number: int, attempt: int, budget: float, objective: Any, runtime: Any = None) -> None:
        key = number, attempt
        count = self._sent[key] = self._sent.get(key, 0) + 1
        payload, buffers = _wire.dump((budget, objective, runtime, count), back=True)
        self.send(_wire.frame(_wire.RECORD, _wire.JOB.pack(number, attempt) + payload, buffers))

    def stopped(self, number: int, attempt: int) -> bool:
        key = number, attempt
        if self._decides and key in self._sent:
            self._wait_for_decision(key)  # about the last record; waiting for it makes runs repeatable
        return key in self._stops

    def _wait_for_decision(self, key: tuple[int, int]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._has_decision(key))

    def _has_decision(self, key: tuple[int, int]) -> bool:
        return self.gone or key in self._stops or self._answered.get(key, 0) >= self._sent[key]

    def must_end(self, number: int, attempt: int) -> bool:
        return self.gone or (number, attempt) in self._requests

    def storage(self) -> Any:
        if self._storage is None and self.pickled_storage is not None:
            with self._changed:
                if self._storage is None:
                    self._storage = pickle.loads(self.pickled_storage)
        if self._storage is None and self._advice:
            from evalpool.errors import NotShareable

            raise NotShareable(self._advice)
        return self._storage

    def ask_to_stop(self, number: int, attempt: int) -> None:
        with self._changed:
            self._stops.add((number, attempt))
            self._requests.add((number, attempt))
            self._changed.notify_all()

    def decided(self, number: int, attempt: int, count: int, stop: bool) -> None:
        with self._changed:
            self._answered[number, attempt] = count
            if stop:
                self._stops.add((number, attempt))
            self._changed.notify_all()

    def forget(self, number: int, attempt: int) -> None:
        if self._sent or self._stops or self._answered:
            key = number, attempt
            with self._changed:
                self._sent.pop(key, None)
                self._answered.pop(key, None)
                self._stops.discard(key)
                self._requests.discard(key)


class SocketChannel(WorkerChannel):
    """A channel that sends records on the data socket; requests to stop come on the control socket."""

    def __init__(
        self, data: socket.socket, decides: bool, storage: Any, advice: str, lender: socket.socket | None = None
    ) -> None:
        super().__init__(decides, storage, advice)
        self._data = data
        self._lender = lender
        self._files: MemoryFiles | None = None  # made for the first large result
        self._lock = threading.Lock()
        self.held: HeldOutcomes | None = None
        self._holds = False  # whether the current jobs are short, so that their outcomes may be sent together

    def send(self, pieces: list[bytes | memoryview]) -> None:
        with self._lock:
            self._send_held()
            _wire.send_all(self._data, pieces)

    def send_bytes(self, data: bytes) -> None:
        with self._lock:
            self._send_held()
            self._data.sendall(data)

    def send_fast(self, number: int, attempt: int, objective: float, start: float, end: float) -> None:
        with self._lock:
            if not self._holds:
                self._data.sendall(_wire.fast_outcome(number, attempt, objective, start, end))
            elif not self.held.add(number, attempt, objective, start, end):  # type: ignore[union-attr]
                self._send_held()

    def _send_held(self) -> None:
        """Send the outcomes that are held, before anything else is sent. Called under the lock."""
        held = self.held
        if self._holds and held is not None and (frame := held.frame()):
            self._data.sendall(frame)
            held.sent()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        if self.held is None:
            yield
            return
        self.held.begin()
        self._holds = True
        try:
            yield
        finally:
            with self._lock:
                self._send_held()
                self._holds = False

    def send_large(self, kind: int, job: tuple[int, int], payload: bytes, buffers: list[memoryview]) -> None:
        lender = self._lender
        lent = None
        if lender and _lend.worth_it(payload, buffers):
            if self._files is None:
                from evalpool.backends._pool import _memory_files

                self._files = _memory_files.of_worker()
            lent = _lend.lend(kind, job, payload, buffers, self._files)
        if lender is None or lent is None:
            self.send(_wire.frame(kind, payload, buffers))
            return
        with self._lock:
            self._send_held()
            _lend.pass_on(lender, lent)
            _wire.send_all(self._data, lent.frame)
        lent.close()
