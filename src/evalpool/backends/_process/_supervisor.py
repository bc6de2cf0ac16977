"""Supervises worker processes: one I/O thread for all of them.

It starts workers, reads outcomes and records, and replaces workers that die. Which jobs go to which worker, and
how many ahead, is `evalpool.backends._ahead`. Blame for a death stays with one job: a worker runs its jobs in the
order in which they were sent, so the first in flight is the one that runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

from evalpool.backends._ahead import Ahead, Entry
from evalpool.backends._process import _wire
from evalpool.backends._process._ends import Reaper, kill_lock, kill_tree
from evalpool.backends._process._handle import Handle, spawn
from evalpool.evaluator._cpus import usable_cpus
from evalpool.outcomes import FailureKind, failed

if TYPE_CHECKING:
    from evalpool.backends._process._evaluator import ProcessPoolEvaluator

__all__ = ["Supervisor"]

logger = logging.getLogger("evalpool")

FAILED_STARTS = 3
"""Attempts in a row at one worker that end before it is ready: then another one is pointless."""
NEXT_START = 0.2
"""Seconds until the next attempt where the system refused to start a process (no memory, no file descriptors)."""
START_TIMEOUT = 300.0
"""Seconds a worker may take to import what the run-function needs."""
END_TIMEOUT = 1.0
"""Seconds an idle worker may take to end by itself."""

_supervisors: weakref.WeakSet[Supervisor] = weakref.WeakSet()


class Supervisor(Ahead):
    """The workers of one evaluator."""

    _hears_between_jobs = True

    def __init__(self, owner: ProcessPoolEvaluator, setup: list[bytes | memoryview]) -> None:
        super().__init__(owner, "evalpool-process-io")
        self._setup = setup
        self._count = owner._num_workers
        self._threads_per_worker = max(1, usable_cpus() // self._count)
        self._failed_starts = [0] * self._count  # in a row, by worker
        self._absent = 0  # workers that were given up
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_in, selectors.EVENT_READ, (self._woken, None))
        self._reaper = Reaper()
        _supervisors.add(self)
        self._thread.start()

    # From the evaluator's threads.

    def stop(self, now: bool) -> None:
        """End all workers and the I/O thread; busy ones are killed at once with `now`."""
        if not self._stopping:
            self._command(lambda: self._begin_to_stop(now))
        if self._thread is not threading.current_thread():
            self._thread.join(10.0)

    def _wake(self) -> None:
        # A full pipe has woken it already; a closed one has nobody left to wake.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_out, b"x")

    def _send(self, handle: Handle, pieces: list[bytes | memoryview]) -> None:
        if not handle.send(pieces):
            self._command(lambda: self._watch_writes(handle))

    # The I/O thread.

    def _run(self) -> None:
        for index in range(self._count):
            self._start_worker(index)
        try:
            self._serve()
            self._end_workers()
        finally:
            self._lead.close()
            self._selector.close()
            os.close(self._wake_in)
            os.close(self._wake_out)
            self._reaper.close()

    def _poll(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        return self._selector.select(self._rest(timeout))

    def _handle_events(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        for key, mask in events:
            action, handle = key.data
            if handle is None or self._seats.get(handle.index) is handle:
                action(handle, mask)
        self._conclude_turn()

    def _woken(self, _: None, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_in, 4096)

    def _watch_writes(self, handle: Handle) -> None:
        if self._seats.get(handle.index) is handle:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(handle.data, both, (self._on_data, handle))

    # What workers say.

    def _on_data(self, handle: Handle, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            with self._lock:
                done = handle.flush()
            if done:
                self._selector.modify(handle.data, selectors.EVENT_READ, (self._on_data, handle))
        if mask & selectors.EVENT_READ:
            try:
                frames = handle.reader.read()
            except BlockingIOError:
                return
            if frames:
                self._take(handle, frames)
            if handle.reader.at_end:
                self._on_end(handle, mask)

    def _on_control(self, handle: Handle, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            with self._lock:
                done = handle.flush_control()
            if done:
                self._selector.modify(handle.control, selectors.EVENT_READ, (self._on_control, handle))
        if not mask & selectors.EVENT_READ:
            return
        try:
            frames = handle.control_reader.read()
        except BlockingIOError:
            return
        self._given_back(handle, [_wire.RANGE.unpack(payload) for _, payload, _ in frames])
        if handle.control_reader.at_end:
            self._selector.unregister(handle.control)

    def _on_stderr(self, handle: Handle, mask: int) -> None:
        if not handle.read_stderr():
            self._selector.unregister(handle.stderr)

    # Beginnings and ends.

    def _start_worker(self, index: int) -> None:
        if self._stopping:
            return
        try:
            handle = spawn(index, self._threads_per_worker)
        except OSError as error:
            text = f"The system refused to start {sys.executable}: {error}"
            if self._may_start_again(index, text):
                self._owner._watchdog.after(NEXT_START, self._command, lambda: self._start_worker(index))
            return
        self._reaper.watch(handle.process.pid)
        with self._lock:
            self._seats[index] = handle
        register = self._selector.register
        register(handle.data, selectors.EVENT_READ, (self._on_data, handle))
        register(handle.control, selectors.EVENT_READ, (self._on_control, handle))
        register(handle.stderr, selectors.EVENT_READ, (self._on_stderr, handle))
        if handle.pidfd is not None:
            register(handle.pidfd, selectors.EVENT_READ, (self._on_end, handle))
        if not handle.send(self._setup):
            self._watch_writes(handle)
        self._owner._watchdog.after(START_TIMEOUT, self._check_start, handle)

    def _check_start(self, handle: Handle) -> None:
        if not handle.ready:
            self._command(lambda: self._kill(handle))

    def _on_other(self, handle: Handle, kind: int, payload: memoryview) -> None:
        self._failed_starts[handle.index] = 0
        self._started_up(handle)

    def _tell(self, handle: Handle, pieces: list[bytes | memoryview]) -> None:
        if not handle.tell(pieces):
            self._command(lambda: self._watch_control(handle))

    def _watch_control(self, handle: Handle) -> None:
        if self._seats.get(handle.index) is handle:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            with contextlib.suppress(KeyError):  # the worker has closed it
                self._selector.modify(handle.control, both, (self._on_control, handle))

    def _force(self, handle: Handle, entry: Entry) -> bool:
        self._command(lambda: self._kill(handle))
        return True

    def _kill(self, handle: Handle) -> None:
        if self._seats.get(handle.index) is handle:
            with kill_lock:
                if handle.process.poll() is None:
                    kill_tree(handle.process.pid)

    def _on_end(self, handle: Handle, mask: int) -> None:
        """A worker has ended: its first job in flight is to blame, the others never began."""
        frames = []
        with contextlib.suppress(BlockingIOError):
            frames = handle.reader.read(drain=True)
        if frames:
            self._take(handle, frames)
        self._kill(handle)  # it may have closed its channel only
        text = handle.describe_end()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(handle.process.pid, 9)  # what a crashed job left behind
        self._reaper.forget(handle.process.pid)
        self._unregister(handle)
        with self._lock:
            entries = self._forget(handle)
        if entries:
            job = entries[0].job
            outcome = failed(FailureKind.WORKER_DIED, text, start=handle.since, end=time.monotonic(),
                             worker=handle.worker)  # fmt: skip
            self._reports.append((job, outcome))
            self._homeless.extend(entry.job for entry in entries[1:])
        handle.close()
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
        for thing in (handle.data, handle.control, handle.stderr, handle.pidfd):
            if thing is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(thing)

    def _begin_to_stop(self, now: bool) -> None:
        self._stopping = True
        for handle in self._seats.values():
            if handle.in_flight or not handle.ready:
                self._kill(handle)
            else:
                handle.data.close()

    def _end_workers(self) -> None:
        """Wait for the ends of all workers, each bounded, and for none longer than that."""
        import subprocess

        deadline = time.monotonic() + END_TIMEOUT
        for handle in list(self._seats.values()):
            try:
                handle.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._kill(handle)
                handle.process.wait()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(handle.process.pid, 9)
            while handle.read_stderr() and _more(handle):
                pass
            self._unregister(handle)
            handle.close()
        with self._lock:
            self._seats.clear()
            self._hungry.clear()
            self._idle.clear()

    def close_in_fork(self) -> None:
        """In a forked child of this process: let go of everything, without ending any of it."""
        self._reaper.close_in_fork()
        for handle in self._seats.values():
            handle.close_fds()


def _more(handle: Handle) -> bool:
    from evalpool.backends._process._handle import _readable

    return _readable(handle.stderr)


def _after_fork() -> None:
    for supervisor in list(_supervisors):
        supervisor.close_in_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
