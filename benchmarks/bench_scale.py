"""What one root sustains with a thousand workers: completions per second, and the core it needs for them.

    python benchmarks/bench_scale.py [--workers 10 100 1000] [--seconds 5]

The root is real: a search loop over an evaluator, its frames, its sockets, its windows, its records. The workers are
imitated: a second process has the other ends of all their sockets and answers each job after its duration, without
running anything. So a thousand workers fit on two cores, and only the root is measured. Processes, Ray workers and
MPI ranks differ from this in how they are started; MPI also in its messages (`bench_mpi.py` with more ranks).

For each number of workers:

- `flat out`: jobs of no duration, as many in flight as the windows hold: what the root sustains at the most;
- `1 s jobs`: one job per worker and one prefetched, each of a second, so as many completions a second as workers:
  whether the root keeps up, what it needs for that, and how busy it keeps the workers.

The second process runs on the same machine: with two cores it takes one, and the root the other.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import heapq
import itertools
import os
import pickle
import platform
import resource
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from functools import partial
from typing import Any

from evalpool import Evaluator
from evalpool.backends import Port
from evalpool.backends._pool import _wire
from evalpool.backends._pool._backend import PoolBackend
from evalpool.backends._pool._launcher import Launcher
from evalpool.backends._pool._pool import Pool
from evalpool.backends._pool._pool_worker import PoolWorker
from evalpool.backends._pool._sockets import Connection, SocketTransport
from evalpool.storage import JournalStorage, NullStorage

HELLO = struct.Struct("<i?")
CONFIGURATION = {"x": 1.0, "y": 2, "z": 3}
SLOW = {**CONFIGURATION, "seconds": 1.0}


class PretendedLauncher(Launcher):
    """Connects imitated workers."""

    name = "pretended"
    exit_timeout = 30.0

    def __init__(self, count: int) -> None:
        self._count = count
        self._directory = tempfile.TemporaryDirectory()
        path = os.path.join(self._directory.name, "socket")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(4096)
        self._process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--pretend", path, str(count)])
        self._halves: dict[int, dict[bool, socket.socket]] = {}

    def open(self, pool: Pool) -> None:
        super().open(pool)
        self._pool = pool

    def start(self, worker: PoolWorker) -> int:
        if not self._halves:  # all of them, with the first
            for _ in range(2 * self._count):
                sock, _ = self._listener.accept()
                number, is_control = HELLO.unpack(sock.recv(HELLO.size, socket.MSG_WAITALL))
                self._halves.setdefault(number, {})[is_control] = sock
        pair = self._halves[worker.index]
        worker.link = Connection(pair[False], pair[True])
        self._pool.command(lambda: self._pool.staff.started_up(worker))
        return worker.index

    def kill(self, worker: PoolWorker) -> None:
        """Do nothing: imitated workers run nothing."""

    def describe_end(self, worker: PoolWorker) -> str:
        return "The process beside has ended."

    def close(self) -> None:
        self._process.wait(30)
        self._listener.close()
        self._directory.cleanup()


class PretendedBackend(PoolBackend):
    """A pool of imitated workers."""

    workers_are = "cluster"

    def make_pool(self, port: Port) -> Pool:
        return Pool(port, PretendedLauncher(port.num_workers), SocketTransport(), "evalpool-scale-io")


class Pretended(Evaluator):
    """Runs nothing on very many workers."""

    backend_class = PretendedBackend


def nothing(job: Any) -> float:
    raise AssertionError("workers are pretended")


# The second process.


class Pretender:
    """One imitated worker: the jobs that it was sent, in order, and when the running one ends."""

    def __init__(self, data: socket.socket, control: socket.socket) -> None:
        self.data, self.control = data, control
        self.waiting: deque[tuple[int, int, int, float]] = deque()  # place, number, attempt, seconds
        self.places = 0
        self.running: tuple[int, int, float] | None = None

    def take(self, jobs: list[Any]) -> None:
        for number, attempt, configuration, _ in jobs:
            self.waiting.append((self.places, number, attempt, configuration.get("seconds", 0.0)))
            self.places += 1

    def go_on(self, now: float) -> float | None:
        """Begin and end jobs that are due; returns the time at which the running job will end."""
        answers = []
        while self.running is None and self.waiting:
            _, number, attempt, seconds = self.waiting.popleft()
            if seconds:
                self.running = number, attempt, now
                if answers:
                    self.data.sendall(b"".join(answers))
                return now + seconds
            answers.append(_wire.fast_outcome(number, attempt, 1.0, now, now))
        if answers:
            self.data.sendall(b"".join(answers))
        return None

    def end(self, now: float) -> None:
        assert self.running is not None
        number, attempt, start = self.running
        self.running = None
        self.data.sendall(_wire.fast_outcome(number, attempt, 1.0, start, now))

    def give_back(self, low: int, high: int) -> None:
        """Give back jobs that have not begun."""
        low = max(low, self.places - len(self.waiting))
        self.waiting = deque(job for job in self.waiting if not low <= job[0] <= high)
        self.control.sendall(_wire.frame(_wire.GIVEN_BACK, _wire.RANGE.pack(low, high))[0])


def pretend(path: str, count: int) -> None:
    """Imitate all workers."""
    selector = selectors.DefaultSelector()
    workers = []
    for number in range(count):
        pair = []
        for is_control in (False, True):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(path)
            sock.sendall(HELLO.pack(number, is_control))
            pair.append(sock)
        workers.append(Pretender(*pair))
        for is_control, sock in enumerate(pair):
            selector.register(sock, selectors.EVENT_READ, (workers[-1], bool(is_control), _wire.FrameReader(sock)))
    order = itertools.count()
    due: list[tuple[float, int, Pretender]] = []

    def go_on(worker: Pretender) -> None:
        until = worker.go_on(time.monotonic())
        if until is not None:
            heapq.heappush(due, (until, next(order), worker))

    while True:
        rest = max(0.0, due[0][0] - time.monotonic()) if due else None
        for key, _ in selector.select(rest):
            worker, is_control, reader = key.data
            frames = reader.read()
            if reader.at_end:
                return
            for kind, payload, _buffers in frames:
                if not is_control:
                    worker.take(pickle.loads(payload))
                elif kind == _wire.STEAL_BACK:
                    worker.give_back(*_wire.RANGE.unpack(payload))
            if not is_control:
                go_on(worker)
        while due and due[0][0] <= time.monotonic():
            until, _, worker = heapq.heappop(due)
            worker.end(until)
            go_on(worker)


# The measurements.


def loop(evaluator: Any, configuration: dict[str, Any], seconds: float) -> tuple[float, float]:
    """Gather one or more and submit as many; completions per second, and CPU seconds of the root per second."""
    done = 0
    used, began = time.process_time(), time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        jobs = evaluator.gather("BATCH", 1)
        done += len(jobs)
        evaluator.submit([configuration] * len(jobs))
    return done / passed, (time.process_time() - used) / passed


def measure(workers: int, seconds: float, make_storage: Any) -> None:
    with contextlib.ExitStack() as stack:
        storage = stack.enter_context(make_storage())
        evaluator = stack.enter_context(Pretended(nothing, num_workers=workers, storage=storage))
        evaluator.submit([{**CONFIGURATION, "seconds": 0.1}] * (8 * workers))
        evaluator.gather()  # all are up
        evaluator.submit([CONFIGURATION] * (4 * workers))
        rate, _ = loop(evaluator, CONFIGURATION, seconds)
        evaluator.gather()
        text = f"  {workers:6} workers, {type(storage).__name__:14} flat out {rate:8.0f} jobs/s"
        rate, core = of_a_second(evaluator, workers, max(seconds, 4.0))
        text += f"; 1 s jobs {rate:7.0f} jobs/s: workers busy {100 * rate / workers:5.1f} %"
        print(f"{text}, root {100 * core:5.1f} % of a core", flush=True)


def of_a_second(evaluator: Any, workers: int, seconds: float) -> tuple[float, float]:
    """As `loop`, with jobs of a second, one running and one waiting for each worker."""
    evaluator.submit([SLOW] * (2 * workers))
    loop(evaluator, SLOW, 2.0)  # until they are out of step with each other, as workers are
    return loop(evaluator, SLOW, seconds)


def busy_workers(workers: int, seconds: float, make_storage: Any) -> tuple[float, float]:
    """Busy time over workers times time with such jobs, from their begins and ends, those at the borders of the time
    counted in part; and CPU seconds of the root per second. The rate does not tell it: workers in step end in bursts.
    """
    with make_storage() as storage, Pretended(nothing, num_workers=workers, storage=storage) as evaluator:
        evaluator.submit([{**CONFIGURATION, "seconds": 0.1}] * (8 * workers))
        evaluator.gather()  # all are up
        evaluator.submit([SLOW] * (2 * workers))
        loop(evaluator, SLOW, 2.0)
        used, began = time.process_time(), time.perf_counter()
        spans: list[tuple[float, float]] = []
        low = high = 0.0
        while not spans or spans[-1][1] < high:
            jobs = evaluator.gather("BATCH", 1)
            evaluator.submit([SLOW] * len(jobs))
            spans += _spans(jobs)
            if not high:
                low = max(end for _, end in spans)
                high = low + seconds
        core = (time.process_time() - used) / (time.perf_counter() - began)
        spans += _spans(evaluator.gather())
        busy = sum(max(0.0, min(end, high) - max(start, low)) for start, end in spans)
        return busy / (workers * seconds), core


def _spans(jobs: Any) -> list[tuple[float, float]]:
    return [(job.metadata["timestamp_start"], job.metadata["timestamp_end"]) for job in jobs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--quick", action="store_true", help="a hundred workers, a second each")
    parser.add_argument("--pretend", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.pretend:
        pretend(options.pretend[0], int(options.pretend[1]))
        return
    import evalpool

    where = f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{datetime.date.today()}, {where}, evalpool {evalpool.__version__}")
    for workers in [100] if options.quick else options.workers:
        with tempfile.TemporaryDirectory() as directory:
            for kind in (NullStorage, partial(JournalStorage, directory)):
                measure(workers, 1.0 if options.quick else options.seconds, kind)


if __name__ == "__main__":
    main()
