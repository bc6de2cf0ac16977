"""The figures of the decision pages: ``python docs/decisions/measurements.py [name ...]``.

Each prints medians of several runs. They are small on purpose, a minute altogether; they compare designs on one
machine and are no benchmark of it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import timeit
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from evalpool import ProcessPoolEvaluator, SerialEvaluator
from evalpool.backends._pool import _prefetcher
from evalpool.backends._process._evaluator import ProcessBackend
from evalpool.storage import MemoryStorage, NullStorage
from evalpool.worker._results import standardise

JOBS = 5_000
REPEATS = 7


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(REPEATS))


def nothing(job: Any) -> float:
    return 0.5


def bulk(cls: Any, **kwargs: Any) -> float:
    """Jobs per second: submit all, gather all."""
    with cls(nothing, **kwargs) as evaluator:
        evaluator.submit([{"x": 1}] * 200)  # workers are up, and known to be fast
        evaluator.gather()
        start = time.perf_counter()
        evaluator.submit([{"x": x} for x in range(JOBS)])
        evaluator.gather()
        return JOBS / (time.perf_counter() - start)


def futures() -> float:
    """The same on a standard process pool."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(nothing, [{"x": 1}] * 200))
        start = time.perf_counter()
        for future in [pool.submit(nothing, {"x": x}) for x in range(JOBS)]:
            future.result()
        return JOBS / (time.perf_counter() - start)


def verdict() -> None:
    """0001: what a verdict costs."""
    import numpy as np

    forms = {
        "a float": 0.5,
        "a dict with metadata": {"objective": 0.5, "metadata": {"epochs": 1}},
        "an array of 3": np.array([0.5, 0.25, 1.0]),
    }
    for name, value in forms.items():
        seconds = min(timeit.repeat(lambda v=value: standardise(v, "hpo", None, 0.0, 1.0), number=20_000, repeat=5))
        say(f"verdict on {name}: {seconds / 20_000 * 1e6:.1f} us")


class OneJobAMessageBackend(ProcessBackend):
    """As the process backend, without sending short jobs together."""

    def run(self, attempts: Any) -> None:
        for attempt in attempts:
            super().run([attempt])


class OneJobAMessage(ProcessPoolEvaluator):
    """On that engine."""

    backend_class = OneJobAMessageBackend


def dispatch() -> None:
    """0002 and 0004: jobs per second on two workers."""
    say(f"standard process pool: {median(futures):,.0f} jobs/s")
    say(f"process, several jobs a message: {median(lambda: bulk(ProcessPoolEvaluator, num_workers=2)):,.0f} jobs/s")
    say(f"process, one job a message: {median(lambda: bulk(OneJobAMessage, num_workers=2)):,.0f} jobs/s")
    least, most = _prefetcher.LEAST_IN_FLIGHT, _prefetcher.MOST_IN_FLIGHT
    for count in (1, 2, 3):
        _prefetcher.LEAST_IN_FLIGHT = _prefetcher.MOST_IN_FLIGHT = count
        rate = median(lambda: bulk(ProcessPoolEvaluator, num_workers=2))
        say(f"process, {count} in flight a worker: {rate:,.0f} jobs/s")
    _prefetcher.LEAST_IN_FLIGHT, _prefetcher.MOST_IN_FLIGHT = least, most


class IOThreadBackend(ProcessBackend):
    """As the process backend, but a caller that waits leaves the reading to the I/O thread."""

    def wait(self, turn: Any) -> bool:
        return False


class ByTheIOThread(ProcessPoolEvaluator):
    """On that engine."""

    backend_class = IOThreadBackend


def loop(cls: Any) -> float:
    """Jobs per second: four in flight on two workers, gather one, submit one."""
    with cls(nothing, num_workers=2) as evaluator:
        evaluator.submit([{"x": 1}] * 200)
        evaluator.gather()
        start, done = time.perf_counter(), 0
        evaluator.submit([{"x": 0}] * 4)
        while done < JOBS:
            count = len(evaluator.gather("BATCH"))
            evaluator.submit([{"x": 1}] * count)
            done += count
        return done / (time.perf_counter() - start)


def lead() -> None:
    """0008: a search loop, by who reads."""
    say(f"process, the caller reads: {median(lambda: loop(ProcessPoolEvaluator)):,.0f} jobs/s")
    say(f"process, the I/O thread reads: {median(lambda: loop(ByTheIOThread)):,.0f} jobs/s")


def storage() -> None:
    """0003: what keeping records costs."""
    for cls in (MemoryStorage, NullStorage):
        rate = median(lambda cls=cls: bulk(SerialEvaluator, storage=cls()))
        with SerialEvaluator(nothing, storage=cls()) as evaluator:
            evaluator.submit([{"x": 1}])
            evaluator.gather()
            tracemalloc.start()
            for _ in range(JOBS // 100):
                evaluator.submit([{"x": x, "y": 0.5, "z": "a"} for x in range(100)])
                evaluator.gather()
            kept = tracemalloc.get_traced_memory()[0] / JOBS
            tracemalloc.stop()
        say(f"serial on {cls.__name__}: {rate:,.0f} jobs/s, {kept:,.0f} bytes kept a job")


def imports() -> None:
    """0005: milliseconds to a fresh interpreter with one import more."""

    def start(statement: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        return time.perf_counter() - begin

    bare = median(lambda: start("pass"))
    for name in ("evalpool", "numpy", "cloudpickle", "pydantic", "psutil", "tqdm"):
        more = median(lambda name=name: start(f"import {name}")) - bare
        say(f"import {name}: {more * 1000:.0f} ms")


def serial() -> None:
    """0007: the calling thread against a thread beside."""
    say(f"serial, in the calling thread: {median(lambda: bulk(SerialEvaluator)):,.0f} jobs/s")
    say(f"serial, in a thread beside: {median(lambda: bulk(SerialEvaluator, job_timeout=60)):,.0f} jobs/s")


ALL = {each.__name__: each for each in (verdict, dispatch, lead, storage, imports, serial)}

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        ALL[name]()
