"""Workers that each have two stream sockets to us, one for jobs and outcomes, one for requests.

What `Ahead` leaves open, for every engine whose workers can be reached so: the thread that selects, what is sent
when a socket is writable, and what becomes of the jobs of a worker that ended. How a worker is started, killed
and buried is left to the engine.
"""

from __future__ import annotations

import abc
import contextlib
import os
import selectors
import socket
import threading
import weakref
from typing import Any

from evalpool._clock import monotonic
from evalpool._descriptors import make_room
from evalpool._fork import Order, at_fork
from evalpool._log import get_logger
from evalpool.backends._pool import _wire
from evalpool.backends._pool._ahead import Ahead, Entry, Seat
from evalpool.evaluator._evaluator import Evaluator
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, Outcome, failed

__all__ = ["OverSockets", "Peer"]

logger = get_logger()

_all: weakref.WeakSet[OverSockets] = weakref.WeakSet()


STOP_WITHIN = 10.0
"""Seconds that the end of the I/O thread may take beside the ends of workers."""


class Peer(Seat):
    """A worker's seat with its two sockets."""

    __slots__ = ("_out", "_told", "control", "control_reader", "data", "reader")

    data: socket.socket
    control: socket.socket

    def connect(self, data: socket.socket, control: socket.socket) -> None:
        """From now on it can be spoken to."""
        data.setblocking(False)
        control.setblocking(False)
        self.data, self.control = data, control
        self.reader, self.control_reader = _wire.FrameReader(data), _wire.FrameReader(control)
        self._out, self._told = _wire.Outbox(data), _wire.Outbox(control)

    def send(self, pieces: list[bytes | memoryview]) -> bool:
        """Send on data without blocking; False: something is left, call `flush` when the socket is writable."""
        return self._out.send(pieces)

    def flush(self) -> bool:
        """Send what is left; True if nothing is."""
        return self._out.flush()

    def tell(self, pieces: list[bytes | memoryview]) -> bool:
        """As `send`, on control."""
        return self._told.send(pieces)

    def flush_control(self) -> bool:
        """As `flush`, on control."""
        return self._told.flush()


class OverSockets(Ahead):
    """The thread that does the I/O for such workers."""

    _hears_between_jobs = True
    _exit_timeout = 0.0
    """Seconds that workers may take to end by themselves."""

    def __init__(self, owner: Evaluator, name: str) -> None:
        super().__init__(owner, name)
        self._count = owner._num_workers
        make_room(8)
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_in, selectors.EVENT_READ, (self._woken, None))

    def _begin(self) -> None:
        """All is there: start the thread, and with it the workers."""
        _all.add(self)
        self._thread.start()

    # What an engine adds.

    @abc.abstractmethod
    def _start_worker(self, index: int) -> None:
        """Start a worker in this place. It takes jobs after `_started_up`."""

    @abc.abstractmethod
    def _kill(self, peer: Any) -> None:
        """Kill a worker, if it is still the one in its place."""

    @abc.abstractmethod
    def _on_end(self, peer: Any, mask: int) -> None:
        """A worker has ended: leads to `_let_go`."""

    @abc.abstractmethod
    def _begin_to_stop(self, now: bool) -> None:
        """Set `_stopping` and let the workers end."""

    @abc.abstractmethod
    def _end_workers(self) -> None:
        """Wait, bounded, until all have ended; the last thing that is done with them."""

    @abc.abstractmethod
    def close_in_fork(self) -> None:
        """In a forked child of this process: let go of everything, without ending any of it."""

    # From the evaluator's threads.

    def stop(self, now: bool) -> None:
        """End all workers and the I/O thread; busy ones are killed at once with `now`."""
        if not self._stopping:
            self._command(lambda: self._begin_to_stop(now))
        # A handler of a signal may close the evaluator while its thread leads: then there is nobody else to do it.
        self._lead.give_back_if_leading()
        if self._thread is not threading.current_thread():
            self._thread.join(STOP_WITHIN + self._exit_timeout)

    def _wake(self) -> None:
        # A full pipe has woken it already; a closed one has nobody left to wake.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_out, b"x")

    def _send(self, peer: Any, pieces: list[bytes | memoryview]) -> None:
        if not peer.send(pieces):
            self._command(lambda: self._watch_writes(peer))

    def _tell(self, peer: Any, pieces: list[bytes | memoryview]) -> None:
        if not peer.tell(pieces):
            self._command(lambda: self._watch_control(peer))

    def _force(self, peer: Any, entry: Entry) -> bool:
        self._command(lambda: self._kill_at(peer, entry))
        return True

    def _kill_at(self, peer: Peer, entry: Entry) -> None:
        """Kill a worker if it still runs this job: it may have said meanwhile that it has ended, and run another."""
        if self._seats.get(peer.index) == peer:
            self._drain(peer)
            if peer.head() is entry:
                self._kill(peer)

    # The I/O thread.

    def _run(self) -> bool:
        self._command(lambda: self._start_workers(0))
        self._serve()
        for last in (self._end_workers, self._lead.close, self._close_selector, self._release):
            try:
                last()
            except BaseException:
                logger.exception("The end of %s's workers did not go as it should.", type(self._owner).__name__)
        return False

    def _close_selector(self) -> None:
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _start_workers(self, index: int) -> None:
        """Start this one and then the next, as commands: who leads does it, and sees meanwhile to those that are up."""
        self._start_worker(index)
        if index + 1 < self._count:
            self._command(lambda: self._start_workers(index + 1))

    def _release(self) -> None:
        """Let go of what the engine has beside its workers; the I/O thread's last act."""

    def _poll(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        return self._selector.select(self._rest(timeout))

    def _handle_events(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        for key, mask in events:
            action, peer = key.data
            if peer is None or self._seats.get(peer.index) is peer:
                try:
                    action(peer, mask)
                except BaseException as error:  # noqa: BLE001  ours; the caller that leads could do nothing about it
                    self._went_wrong(peer, error)
        self._conclude_turn()

    def _woken(self, _: None, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_in, 4096)

    def _watch(self, peer: Peer) -> None:
        """Begin to read what a worker sends."""
        self._selector.register(peer.data, selectors.EVENT_READ, (self._on_data, peer))
        self._selector.register(peer.control, selectors.EVENT_READ, (self._on_control, peer))

    def _watch_writes(self, peer: Peer) -> None:
        if self._seats.get(peer.index) is peer:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            with contextlib.suppress(KeyError):  # its end has been seen meanwhile
                self._selector.modify(peer.data, both, (self._on_data, peer))

    def _watch_control(self, peer: Peer) -> None:
        if self._seats.get(peer.index) is peer:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            with contextlib.suppress(KeyError):  # the worker has closed it
                self._selector.modify(peer.control, both, (self._on_control, peer))

    def _unwatch(self, *things: Any) -> None:
        for thing in things:
            if thing is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(thing)

    # What workers say.

    def _on_data(self, peer: Peer, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            with self._lock:
                done = peer.flush()
            if done:
                self._selector.modify(peer.data, selectors.EVENT_READ, (self._on_data, peer))
        if mask & selectors.EVENT_READ:
            try:
                frames = peer.reader.read()
            except BlockingIOError:
                return
            if frames:
                self._take(peer, frames)
            if peer.reader.at_end:
                self._on_end(peer, mask)

    def _drain(self, peer: Peer) -> None:
        """Take the last that an ended worker said."""
        frames = []
        with contextlib.suppress(BlockingIOError):
            frames = peer.reader.read(drain=True)
        if frames:
            self._take(peer, frames)

    def _on_control(self, peer: Peer, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            with self._lock:
                done = peer.flush_control()
            if done:
                self._selector.modify(peer.control, selectors.EVENT_READ, (self._on_control, peer))
        if not mask & selectors.EVENT_READ:
            return
        try:
            frames = peer.control_reader.read()
        except BlockingIOError:
            return
        self._given_back(peer, [_wire.RANGE.unpack(payload) for _, payload, _ in frames])
        if peer.control_reader.at_end:
            self._unwatch(peer.control)

    # Ends.

    def _let_go(self, peer: Peer, text: str) -> None:
        """A worker is gone: blame the job that it ran, take back the others."""
        with self._lock:
            entries = self._forget(peer)
        if entries:
            job: Job[Any] = entries[0].job
            outcome: Outcome = failed(FailureKind.WORKER_DIED, text, start=peer.since, end=monotonic(),
                                      worker=peer.worker)  # fmt: skip
            self._reports.append((job, outcome))
            with self._lock:
                for entry in entries[1:]:
                    self._homeless[entry.job.number] = entry.job, entry.source, None

    def _hold_back(self, peer: Peer) -> None:
        """Send nothing more to a worker that is about to go."""
        with self._lock:
            for queue in (self._hungry, self._idle):
                if peer in queue:
                    queue.remove(peer)
            peer.hungry = peer.idle = False
            peer.held = True


def _after_fork() -> None:
    for supervisor in list(_all):
        supervisor.close_in_fork()


at_fork(Order.ENGINES, _after_fork)
