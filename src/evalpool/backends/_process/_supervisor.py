"""Supervises worker processes: one I/O thread for all of them.

It starts workers and replaces those that die. Which jobs go to which worker, and how many ahead, is
`evalpool.backends._pool._ahead`; how workers are spoken to is `evalpool.backends._pool._sockets`. Blame for a
death stays with one job: a worker runs its jobs in the order in which they were sent, so the first in flight is the
one that runs.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
from typing import TYPE_CHECKING, Any

from evalpool._descriptors import can_read
from evalpool._guard import describe
from evalpool._log import get_logger
from evalpool.backends._pool import _lend, _wire
from evalpool.backends._pool._ends import Reaper, kill_lock, kill_tree, tell_of_cut
from evalpool.backends._pool._handle import Handle, spawn, wait_for_ends
from evalpool.backends._pool._sockets import OverSockets
from evalpool.batch._cpus import usable_cpus

if TYPE_CHECKING:
    from evalpool.backends._process._evaluator import ProcessPoolEvaluator

__all__ = ["Supervisor"]

logger = get_logger()

FAILED_STARTS = 3
"""Attempts in a row at one worker that end before it is ready: then another one is pointless."""
NEXT_START = 0.2
"""Seconds until the next attempt where the system refused to start a process (no memory, no file descriptors)."""
START_TIMEOUT = 300.0
"""Seconds a worker may take to import what the run-function needs."""


class Supervisor(OverSockets):
    """The workers of one evaluator."""

    def __init__(
        self, owner: ProcessPoolEvaluator, setup: bytes, buffers: list[memoryview], exit_timeout: float
    ) -> None:
        super().__init__(owner, "evalpool-process-io")
        self._lends = _lend.can_lend()
        self._setup = self._framed(_wire.SETUP, (-1, 0), setup, buffers)
        if not isinstance(self._setup, _lend.Lent):
            # Workers that are replaced later get the run-function as it was when the evaluator was made.
            self._setup = [bytes(piece) for piece in self._setup]
        self._threads_per_worker = max(1, usable_cpus() // self._count)
        self._failed_starts = [0] * self._count  # in a row, by worker
        self._absent = 0  # workers that were given up
        self._exit_timeout = exit_timeout
        self._reaper = Reaper()
        self._begin()

    # Large frames.

    def _framed(self, kind: int, job: tuple[int, int], payload: bytes, buffers: list[memoryview]) -> Any:
        lent = _lend.lend(kind, job, payload, buffers) if self._lends and _lend.worth_it(payload, buffers) else None
        return lent or _wire.frame(kind, payload, buffers)

    def _send(self, peer: Handle, pieces: Any) -> None:
        if isinstance(pieces, _lend.Lent):
            assert peer.lender is not None
            # A worker that is deaf for long has a full socket: then the frame waits in our memory for the other one.
            pieces = pieces.frame if _lend.pass_on(peer.lender, pieces) else _lend.copy_back(pieces)
        super()._send(peer, pieces)

    def _borrow(self, seat: Handle, head: memoryview) -> _wire.Frame:
        assert seat.lender is not None
        return _lend.borrow(seat.lender, head)

    def _on_stderr(self, handle: Handle, mask: int) -> None:
        if not handle.read_stderr():
            self._selector.unregister(handle.stderr)

    # Beginnings and ends.

    def _start_worker(self, index: int) -> None:
        if self._stopping:
            return
        handle = None
        try:
            handle = spawn(index, self._threads_per_worker)
            self._take_in(handle)
        except Exception as error:  # noqa: BLE001  counted as a failed start, and said
            if handle is not None:
                with self._lock:
                    if index in self._seats:
                        self._forget(handle)
                kill_tree(handle.process.pid)
                handle.process.wait()
                self._unregister(handle)
                handle.close()
            if isinstance(error, OSError):
                text = f"The system refused to start {sys.executable}: {error}"
            else:
                text = f"evalpool could not start {sys.executable}.\n{describe(error)}"
            if self._may_start_again(index, text):
                self._owner._watchdog.after(NEXT_START, self._command, lambda: self._start_worker(index))

    def _take_in(self, handle: Handle) -> None:
        """A worker process has been started: listen to it, and send it what it needs."""
        self._reaper.watch(handle.process.pid)
        with self._lock:
            self._seats[handle.index] = handle
        self._watch(handle)
        register = self._selector.register
        register(handle.stderr, selectors.EVENT_READ, (self._on_stderr, handle))
        if handle.exit.pidfd is not None:
            register(handle.exit.pidfd, selectors.EVENT_READ, (self._on_end, handle))
        with self._lock:
            self._send(handle, self._setup)
        self._owner._watchdog.after(START_TIMEOUT, self._check_start, handle)

    def _describe_shortage(self) -> str:
        starting = [str(handle.worker.pid) for handle in list(self._seats.values()) if not handle.ready]
        if not starting:
            return "The system has not been able to start a worker process yet."
        return (
            f"Workers are starting ({'process' if len(starting) == 1 else 'processes'} {', '.join(starting)}) and have "
            f"not finished to import what the run-function needs; one that takes longer than {START_TIMEOUT:g} s is "
            "ended and another one started. `py-spy dump --pid` shows where one is."
        )

    def _check_start(self, handle: Handle) -> None:
        if not handle.ready:
            self._command(lambda: self._kill(handle))

    def _on_other(self, handle: Handle, kind: int, payload: memoryview) -> None:
        self._failed_starts[handle.index] = 0
        self._started_up(handle)

    def _kill(self, handle: Handle) -> None:
        if self._seats.get(handle.index) is handle:
            with kill_lock:
                if not handle.exit.wait():
                    kill_tree(handle.process.pid)

    def _on_end(self, handle: Handle, mask: int) -> None:
        """A worker has ended: its first job in flight is to blame, the others never began."""
        self._drain(handle)
        self._kill(handle)  # it may have closed its channel only
        self._bury(handle, handle.describe_end())

    def _discard(self, handle: Handle, text: str) -> None:
        self._kill(handle)
        handle.process.wait()
        self._bury(handle, text)

    def _bury(self, handle: Handle, text: str) -> None:
        """Let go of a worker that has ended, and start another one in its place."""
        try:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(handle.process.pid, 9)  # what a crashed job left behind
            self._reaper.forget(handle.process.pid)
            self._unregister(handle)
            self._let_go(handle, text)
            handle.close()
        finally:
            if handle.ready or self._may_start_again(handle.index, text):
                self._start_worker(handle.index)

    def _may_start_again(self, index: int, text: str) -> bool:
        """A worker ended before it was ready. After some attempts in a row it is given up, and the others go on."""
        self._failed_starts[index] += 1
        if self._failed_starts[index] < FAILED_STARTS:
            return True
        self._absent += 1
        if self._absent < self._count:
            logger.error("Worker %d was given up after %d attempts to start it. %s", index, FAILED_STARTS, text)
        else:
            # Fail jobs instead of letting them wait for ever.
            self._hopeless = f"No worker process can be started; {FAILED_STARTS} attempts in a row failed. {text}"
            logger.error(self._hopeless)
            self._slots += self._count  # the jobs come here to be reported
        return False

    def _unregister(self, handle: Handle) -> None:
        self._unwatch(handle.data, handle.control, handle.stderr, handle.exit.pidfd)

    def _begin_to_stop(self, now: bool) -> None:
        self._stopping = True
        for handle in self._seats.values():
            if handle.in_flight or not handle.ready:
                self._kill(handle)
            else:
                handle.data.close()

    def _end_workers(self) -> None:
        """Wait for the ends of all workers, each bounded, and for none longer than that."""
        handles = list(self._seats.values())
        for handle in wait_for_ends(handles, self._exit_timeout):
            tell_of_cut(f"Worker {handle.index} (process {handle.process.pid})", self._exit_timeout)
            self._kill(handle)
            handle.exit.wait(None)
        for handle in handles:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(handle.process.pid, 9)
            while handle.read_stderr() and can_read(handle.stderr):
                pass
            self._unregister(handle)
            handle.close()
        with self._lock:
            self._seats.clear()
            self._hungry.clear()
            self._idle.clear()

    def _release(self) -> None:
        self._reaper.close()

    def close_in_fork(self) -> None:
        self._reaper.close_in_fork()
        for handle in self._seats.values():
            handle.close_in_fork()
