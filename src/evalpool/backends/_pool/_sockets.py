"""The transport over stream sockets: two to each worker, one for jobs and outcomes, one for requests."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._descriptors import can_read, make_room
from evalpool.backends._pool import _lend, _wire
from evalpool.backends._pool._encoding import Pickled
from evalpool.backends._pool._held import frames_begun, read_held
from evalpool.backends._pool._transport import Pieces, Transport

if TYPE_CHECKING:
    from evalpool.backends._pool._memory_files import MemoryFiles
    from evalpool.backends._pool._pool_worker import PoolWorker

__all__ = ["Connection", "SocketTransport", "wait_for_hang_up"]

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
Events = list[tuple[selectors.SelectorKey, int]]


class Connection:
    """The sockets of one worker.

    Attributes:
        data: carries jobs and outcomes.
        control: carries requests that the worker must read while a job runs.
        lender: passes descriptors of large frames to a worker of this host; None for others.
        page: memory in which a worker of this host holds outcomes (`_held`); None for others.
        reader, control_reader: read frames from these sockets.
        out: bytes that are still to be sent on `data`.
        frames: number of frames sent on `data` so far, without those that were refused.
    """

    __slots__ = (
        "_told",
        "control",
        "control_reader",
        "data",
        "flush",
        "flush_control",
        "frames",
        "lender",
        "out",
        "page",
        "reader",
        "send",
        "tell",
    )

    def __init__(
        self,
        data: socket.socket,
        control: socket.socket,
        lender: socket.socket | None = None,
        page: memoryview | None = None,
    ) -> None:
        self.data, self.control, self.lender, self.page = data, control, lender, page
        for each in (data, control, lender):
            if each is not None:
                each.setblocking(False)
        self.reader, self.control_reader = _wire.FrameReader(data), _wire.FrameReader(control)
        self.frames = 0
        self.out, self._told = _wire.Outbox(data), _wire.Outbox(control)
        self.send = self.out.send
        """Send pieces on `data` without blocking. False if some are left: call `flush` when the socket is writable."""
        self.flush = self.out.flush
        self.tell = self._told.send
        """The same as `send`, on `control`."""
        self.flush_control = self._told.flush

    def hang_up(self) -> None:
        """Let a worker without a job end: it reads the end of `data`. `control` then shows when it has ended."""
        with contextlib.suppress(OSError):  # the worker has ended already
            self.data.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all sockets."""
        for each in (self.data, self.control, self.lender):
            if each is not None:
                each.close()
        self.page = None


class SocketTransport(Transport):
    """Waits for the sockets of all workers, and for further files that their launcher adds with `watch`.

    Large frames to and from workers of this host go through shared memory (`_lend`).
    """

    def __init__(self) -> None:
        make_room(8)
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_in, READ, (self._woken, None))
        self._lends = _lend.can_lend()
        self._files: MemoryFiles | None = None  # made for the first large job

    # Sending.

    def message_of(self, job: Pickled) -> Any:
        lent = self._in_memory(job) if self._lends and _lend.worth_it(job.payload, job.buffers) else None
        return lent or _wire.frame(job.kind, job.payload, job.buffers)

    def _in_memory(self, job: Pickled) -> _lend.Lent | None:
        from evalpool.backends._pool import _memory_files

        if job.kind == _wire.SETUP:  # is mapped as long as workers live
            return _lend.lend(*job)
        if self._files is None:
            self._files = _memory_files.of_pool()
        return _lend.lend(*job, self._files)

    def send(self, worker: PoolWorker, message: Any) -> bool:
        link: Connection = worker.link
        if isinstance(message, _lend.Lent):
            # The socket of a worker that is unresponsive for long is full. Then the whole frame waits in this process.
            passed = link.lender is not None and _lend.pass_on(link.lender, message)
            message = message.frame if passed else _lend.copy_back(message)
        if not link.send(message):
            self._pool.command(lambda: self._await_writable(worker, link.data, self._on_data))
        refused: bool = link.out.refused
        if not refused:
            link.frames += 1
        return refused

    def tell(self, worker: PoolWorker, pieces: Pieces) -> None:
        link = worker.link
        if link is not None and not link.tell(pieces):
            self._pool.command(lambda: self._await_writable(worker, link.control, self._on_control))

    def _await_writable(self, worker: PoolWorker, sock: socket.socket, action: Callable[..., None]) -> None:
        if self._pool.workers.get(worker.index) is worker:
            with contextlib.suppress(KeyError):  # its end was noticed meanwhile
                self._selector.modify(sock, READ | WRITE, (action, worker))

    # Watched files.

    def add(self, worker: PoolWorker) -> None:
        """Begin to read what a worker sends."""
        self.watch(worker.link.data, self._on_data, worker)
        self.watch(worker.link.control, self._on_control, worker)

    def watch(self, file: Any, action: Callable[[Any, int], None], worker: PoolWorker) -> None:
        """Call ``action(worker, mask)`` in the thread that does the I/O when this file of a worker is readable."""
        self._selector.register(file, READ, (action, worker))

    def unwatch(self, *files: Any) -> None:
        """Stop watching these files; None is ignored."""
        for file in files:
            if file is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(file)

    def hold(self, worker: PoolWorker) -> None:
        """Read nothing more of a worker whose connection has ended."""
        self.unwatch(worker.link.data, worker.link.control)

    def drop(self, worker: PoolWorker) -> None:
        if worker.link is not None:
            self.hold(worker)
            worker.link.close()

    def wake(self) -> None:
        # If the pipe is full, `poll` returns anyway; if it is closed, no thread polls any more.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_out, b"x")

    def _woken(self, _: None, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_in, 4096)

    def close(self) -> None:
        self._files = None
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def close_in_fork(self) -> None:
        for worker in self._pool.workers.values():
            if worker.link is not None:
                worker.link.close()

    # Receiving.

    def poll(self, timeout: float | None) -> Events:
        return self._selector.select(timeout)

    def handle(self, events: Events) -> None:
        pool = self._pool
        workers = pool.workers
        for key, mask in events:
            action, worker = key.data
            if worker is None or workers.get(worker.index) is worker:
                try:
                    action(worker, mask)
                except BaseException as error:  # noqa: BLE001  a fault of evalpool, which the leading caller cannot handle
                    pool.went_wrong(worker, error)

    def _on_data(self, worker: PoolWorker, mask: int) -> None:
        link = worker.link
        if mask & WRITE:
            with self._pool.sending:
                done = link.flush()
            if done:
                self._selector.modify(link.data, READ, (self._on_data, worker))
        if mask & READ:
            try:
                frames = link.reader.read()
            except BlockingIOError:
                return
            if frames:
                self._pool.hearing.take(worker, frames)
            if link.reader.at_end:
                self._pool.staff.ended(worker)

    def drain(self, worker: PoolWorker) -> None:
        link = worker.link
        if link is None:
            return
        for reader in (link.reader, link.control_reader):
            frames = []
            with contextlib.suppress(BlockingIOError, OSError):
                frames = reader.read(drain=True)
            if frames:
                self._pool.hearing.take(worker, frames)
        self.look(worker)

    def left_unread(self, worker: PoolWorker) -> bool:
        link: Connection | None = worker.link
        if link is None:
            return False
        if link.page is not None:
            return max(1, frames_begun(link.page)) < link.frames
        return link.data.family == socket.AF_UNIX and link.reader.was_reset

    def can_hold(self, worker: PoolWorker) -> bool:
        return worker.link.page is not None

    def look(self, worker: PoolWorker) -> None:
        link = worker.link
        if link is None or link.page is None:
            return
        # What was found here before is still here, and is no sign that the worker does anything.
        outcomes = [each for each in read_held(link.page) if each[0] in worker.in_flight]
        if outcomes:
            self._pool.hearing.take(worker, [(_wire.FAST_OUTCOME, outcomes, [])])

    def _on_control(self, worker: PoolWorker, mask: int) -> None:
        link = worker.link
        if mask & WRITE:
            with self._pool.lock:
                done = link.flush_control()
            if done:
                self._selector.modify(link.control, READ, (self._on_control, worker))
        if not mask & READ:
            return
        try:
            frames = link.control_reader.read()
        except BlockingIOError:
            return
        if frames:
            self._pool.hearing.take(worker, frames)
        if link.control_reader.at_end:
            self.unwatch(link.control)

    def borrow(self, worker: PoolWorker, head: memoryview) -> _wire.Frame:
        return _lend.borrow(worker.link.lender, head)


def wait_for_hang_up(workers: Iterable[PoolWorker], within: float) -> list[PoolWorker]:
    """Wait at most `within` seconds until workers have ended for which `hang_up` was called.

    Returns the workers that have not ended. Frames that they still send are ignored, as they had no job.
    """
    deadline = monotonic() + within
    alive = {worker.link.control.fileno(): worker for worker in workers if worker.link is not None}
    alive.pop(-1, None)
    while alive and (rest := deadline - monotonic()) > 0:
        for fd in can_read(*alive, timeout=rest):
            if _is_at_end(alive[fd].link.control):
                del alive[fd]
    return list(alive.values())


def _is_at_end(sock: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        try:
            return not sock.recv(1 << 16)
        except OSError:
            return True
    return False
