"""Runs one call at a time in a supervised helper process, which is a single worker of the process backend.

The caller's thread waits on the worker's channel and, at each interval, measures the memory of its process tree.
Records and requests to stop are passed through the caller's own channel to the evaluator.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evalpool._clock import monotonic
from evalpool._fork import Order, at_fork
from evalpool._patched import refuse_if_patched
from evalpool._text import described
from evalpool.backends._pool import _wire
from evalpool.backends._pool._encoding import load_outcome
from evalpool.backends._pool._ends import Reaper, kill_tree, tell_of_cut
from evalpool.backends._pool._profile import memory_failure
from evalpool.backends._pool._tree import descendants
from evalpool.backends._pool._worker_process import WorkerProcess, spawn, wait_for_ends
from evalpool.batch._cpus import usable_cpus
from evalpool.errors import NotShareable
from evalpool.outcomes import FailureKind, Outcome, Worker, failed
from evalpool.worker._call import Task
from evalpool.worker._origin import describe
from evalpool.worker._pickling import dump_whole
from evalpool.worker._running_job import RunningJob

__all__ = ["Helper", "end_idle"]

STOP_GRACE = 0.1
"""Seconds between a request to stop and force: less than the evaluator's grace, so that no thread is abandoned."""
TICK = 0.05
"""The longest interval between two checks, in seconds: of memory, which has no event, and of requests to stop."""


class _Inner:
    """The function that the helper calls: it gives the job the identity that it has in the evaluator."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, job: RunningJob, identity: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        search, number, attempt, seed = identity
        return self.function(job._known_as(search, number, attempt, seed), **kwargs)


class Helper:
    """A helper process for one function. One thread at a time."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._process: WorkerProcess | None = None
        self._reaper: Reaper | None = None
        self._count = 0
        _helpers.add(self)

    def _start(self, channel: Any) -> WorkerProcess:
        from evalpool.worker._by_value import dumps

        refuse_if_patched("profile, where it measures memory,")
        storage, advice = None, ""
        try:
            storage = None if channel is None else dump_whole(channel.storage())
        except NotShareable as error:
            advice = str(error)
        task = dumps(Task(_Inner(self._function), {}, "0", "task", 0))
        # The helper must also survive signals that this process handles, because a batch system signals all processes.
        signals = [n for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2) if callable(signal.getsignal(n))]
        setup = {
            "origin": describe(),
            "task": task,
            "storage": storage,
            "advice": advice,
            "decides": channel is not None,
            "signals": signals,
        }
        payload, buffers = _wire.dump(setup)
        self._reaper = Reaper()
        process = self._process = spawn(usable_cpus())
        self._reaper.watch(process.pid)
        process.connection.data.setblocking(True)
        process.connection.control.setblocking(True)
        _wire.send_all(process.connection.data, _wire.frame(_wire.SETUP, payload, buffers))
        return process

    def prepare(self, channel: Any) -> None:
        """Start the process now and wait until it is ready, so that its start counts for no job."""
        process = self._process or self._start(channel)
        with selectors.DefaultSelector() as selector:
            selector.register(process.connection.data, selectors.EVENT_READ)
            selector.register(process.stderr, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if process.stderr in ready and not process.read_stderr():
                    selector.unregister(process.stderr)
                reader = process.connection.reader
                if process.connection.data.fileno() in ready and (reader.read() or reader.at_end):
                    return  # the first frame says that it is ready; if it has ended, the first call will notice that

    def call(self, job: Any, kwargs: dict[str, Any], limit: float | None, interval: float) -> tuple[Outcome, int, bool]:
        """Run the function on a job; return its outcome, the peak of memory in bytes, and whether the helper lives."""
        channel = job._channel if isinstance(job, RunningJob) else None
        start = monotonic()
        try:
            process = self._process or self._start(channel)
            identity = job._identity() if isinstance(job, RunningJob) else ("0", 0, 1, (0,))
            extra = {"identity": identity, "kwargs": kwargs}
            payload, buffers = _wire.dump((dict(job), extra))
        except Exception as error:  # noqa: BLE001  the user's objects may raise anything when pickled
            text = f"The job cannot be sent to a helper process: {described(error)}"
            return failed(FailureKind.UNPICKLABLE, text, start=start), 0, self._process is not None
        number, self._count = self._count, self._count + 1
        watch = _Memory(process.pid)
        with contextlib.suppress(OSError):  # a helper that died is noticed below
            head = _wire.JOB.pack(number, 1)
            _wire.send_all(process.connection.data, _wire.frame(_wire.ONE_JOB, head + payload, buffers))
        outcome = self._wait(process, number, job, channel, watch, limit, interval, start)
        if isinstance(job, RunningJob):
            job._told = bool(outcome.stopped_early)  # the helper's job was told to stop, so this one was
        alive = outcome.kind not in (FailureKind.WORKER_DIED, FailureKind.MEMORY_LIMIT, FailureKind.CANCELLED)
        if alive:
            watch.look()
        return outcome, watch.peak, alive

    def _wait(
        self,
        process: WorkerProcess,
        number: int,
        job: Any,
        channel: Any,
        watch: _Memory,
        limit: float | None,
        interval: float,
        start: float,
    ) -> Outcome:
        stop_at: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(process.connection.data, selectors.EVENT_READ)
            selector.register(process.stderr, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select(min(interval, TICK))}
                if process.stderr in ready and not process.read_stderr():
                    selector.unregister(process.stderr)
                if process.connection.data.fileno() in ready:
                    outcome = self._read(process, job, channel, start)
                    if outcome is not None:
                        return outcome
                watch.look()
                if limit is not None and watch.peak > limit:
                    kill_tree(process.pid)
                    return memory_failure(limit, watch.peak, start)
                if channel is None or not channel.must_end(job._number, job._attempt):
                    continue
                if stop_at is None:
                    stop_at = monotonic() + STOP_GRACE
                    process.connection.tell(_wire.frame(_wire.STOP, _wire.JOB.pack(number, 1)))
                elif monotonic() > stop_at:
                    kill_tree(process.pid)
                    return failed(FailureKind.CANCELLED, "it was asked to stop and did not", start=start)

    def _read(self, process: WorkerProcess, job: Any, channel: Any, start: float) -> Outcome | None:
        """Read the helper's frames; return the outcome if it is among them."""
        for kind, payload, buffers in process.connection.reader.read():
            if kind == _wire.RECORD:
                number, _ = _wire.JOB.unpack_from(payload)
                budget, objective, runtime, count = _wire.load(payload[_wire.JOB.size :], buffers)
                stop = False
                if channel is not None:
                    channel.record(job._number, job._attempt, budget, objective, runtime)
                    stop = channel.stopped(job._number, job._attempt)
                process.connection.tell(_wire.frame(_wire.DECIDED, _wire.DECISION.pack(number, 1, count, stop)))
            elif kind in (_wire.OUTCOME, _wire.FAST_OUTCOME):
                return load_outcome(
                    kind, payload, buffers, Worker("process-0", socket.gethostname(), process.pid), start
                )
        if process.connection.reader.at_end:
            kill_tree(process.pid)
            return failed(FailureKind.WORKER_DIED, process.describe_end())
        return None

    def close(self) -> None:
        """Kill the helper process, if it has not ended, and release everything."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.exit.wait(None)
            process.kill_group()
            process.close()
        if self._reaper is not None:
            self._reaper.close()
            self._reaper = None

    def close_in_fork(self) -> None:
        """In a forked child: close our copies of the helper's files; the helper is the parent's."""
        if self._process is not None:
            self._process.close_in_fork()
        if self._reaper is not None:
            self._reaper.close_in_fork()
        self._process = self._reaper = None


def end_idle(helpers: list[Helper], exit_timeout: float) -> None:
    """Let helper processes without a job end by themselves, all at the same time.

    Within `exit_timeout` seconds they call what the function registered with `atexit`. A process that takes longer is
    killed, which is logged.
    """
    processes = [helper._process for helper in helpers if helper._process is not None]
    for process in processes:
        process.connection.data.close()
    for process in wait_for_ends(processes, exit_timeout):
        tell_of_cut(f"The helper process {process.pid}", exit_timeout)
    for helper in helpers:
        helper.close()


_helpers: weakref.WeakSet[Helper] = weakref.WeakSet()


def _after_fork() -> None:
    for helper in list(_helpers):
        helper.close_in_fork()


at_fork(Order.ENGINES, _after_fork)


class _Memory:
    """The peak of the resident memory of a process tree.

    Linux keeps the peak of each process (``VmHWM``, proc(5)), which can be reset. So no spike between two checks is
    missed; the sum over the tree is too high only if its processes peak at different times of one interval. On other
    systems, the resident size at each check is used.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.peak = 0
        for each in self._tree():
            _reset_peak(each)

    def look(self) -> None:
        """Update the peak with those since the last check."""
        self.peak = max(self.peak, sum(_take_peak(pid) for pid in self._tree()))

    def _tree(self) -> list[int]:
        if os.path.isdir("/proc/self/task"):
            return [self._pid, *descendants(self._pid)]
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            return [self._pid, *(child.pid for child in psutil.Process(self._pid).children(recursive=True))]
        return [self._pid]


def _take_peak(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        if os.path.isdir("/proc/self/task"):
            return 0
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            return int(psutil.Process(pid).memory_info().rss)
        return 0
    _reset_peak(pid)
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _reset_peak(pid: int) -> None:
    with contextlib.suppress(OSError):  # it has ended, is not ours, or this is not Linux: its peak is not reset
        Path(f"/proc/{pid}/clear_refs").write_text("5")
