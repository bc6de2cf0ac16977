"""Unknown processes of this host connect to the sockets of a search, and send nothing or nonsense: it continues."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from evalpool import ExecutorEvaluator, RunningJob
from evalpool._net import _listener
from evalpool._net._sockets import reach
from evalpool.storage import SharedMemoryStorage

MANY = 3 * _listener.MOST
BOUND = 30.0


def listening_sockets() -> set[str]:
    """The names of this process's sockets, which every user of the host can read; as addresses of ours."""
    files = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    own = {os.readlink(file) for file in files if os.path.lexists(file)}
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:] if "@evalpool-" in line]
    return {line[7] for line in lines if f"socket:[{line[6]}]" in own}


@contextmanager
def unknown_clients(addresses: set[str]) -> Iterator[None]:
    """Connect many clients that are silent, and one that sends no proof and does not stop sending."""
    with ExitStack() as stack:
        for address in addresses:
            for _ in range(MANY):
                stack.enter_context(reach(address, socket.SOCK_STREAM, BOUND))
            loud = stack.enter_context(reach(address, socket.SOCK_STREAM, BOUND))
            with suppress(OSError):
                for _ in range(100):
                    loud.sendall(b"A" * 60_000)
        yield


def record_twice(job: RunningJob) -> float:
    job.record(1, 0.5)
    job.record(2, 1.0)
    return 2.0 if not job.stopped() else 0.0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/unix").exists(), reason="only Linux shows the names of sockets")
def test_workers_of_another_pool_record_while_unknown_processes_hold_connections() -> None:
    before = listening_sockets()
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(2, context) as pool,
        ExecutorEvaluator(record_twice, executor=pool, num_workers=2) as evaluator,
    ):
        evaluator.submit([{"x": 0}])
        (first,) = evaluator.gather("BATCH", 1, timeout=BOUND)
        new = listening_sockets() - before
        assert new
        with unknown_clients(new):
            evaluator.submit([{"x": n} for n in range(1, 9)])
            jobs = evaluator.gather("BATCH", 8, timeout=BOUND)
        assert [job.objective for job in [first, *jobs]] == [2.0] * 9


@pytest.mark.skipif(not Path("/proc/net/unix").exists(), reason="only Linux shows the names of sockets")
def test_a_storage_in_memory_serves_its_clients_while_unknown_processes_hold_connections() -> None:
    before = listening_sockets()
    files = len(os.listdir("/proc/self/fd"))
    with SharedMemoryStorage() as storage:
        new = listening_sockets() - before
        assert len(new) == 1
        with unknown_clients(new):
            with pickle.loads(pickle.dumps(storage)) as client:
                assert client.create_new_search() == "0"
            ours = len(os.listdir("/proc/self/fd")) - files - (MANY + 1)  # the unknown clients are in this process, too
            assert ours <= _listener.MOST + 8
        assert storage.create_new_search() == "1"
