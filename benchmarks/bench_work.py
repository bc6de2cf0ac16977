"""How much work evalpool does per job on the local paths, counted: Python calls and lock acquisitions.

    python benchmarks/bench_work.py [--jobs 2000]

Counts have no noise, so they show what a change of structure costs where times do not. Calls are those of the caller's
thread, C functions included; on `process` that thread reads the workers itself, and how many jobs it reads at a time
depends on the machine's load. Locks are those of all threads. The workloads are those of
`tests/evaluator/test_work_per_job.py`, which checks that the counts stay below limits.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import threading
from pathlib import Path
from typing import Any

from _tables import heading

from evalpool import Evaluator
from evalpool.storage import NullStorage


def workloads() -> Any:
    """The module of the tests' workloads."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "evaluator"))
    return importlib.import_module("workloads")


def measured(work: Any, method: str, way: Any, jobs: int, storage: Any) -> tuple[float, float]:
    """Python calls and lock acquisitions per job."""
    run, in_bulk, calls = work.run, work.in_bulk, work.calls
    lock, real_lock = work.CountingLock, threading.Lock
    kwargs = {"num_workers": 2, "storage": storage()}
    with Evaluator.create(run, method, kwargs) as evaluator:
        in_bulk(evaluator, 50)
        called = calls(lambda: way(evaluator, jobs)) / jobs
    threading.Lock = lock  # type: ignore[assignment,misc]
    try:
        with Evaluator.create(run, method, {**kwargs, "storage": storage()}) as evaluator:
            in_bulk(evaluator, 50)
            before = lock.taken
            way(evaluator, jobs)
            taken = (lock.taken - before) / jobs
    finally:
        threading.Lock = real_lock  # type: ignore[misc]
    return called, taken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2000)
    jobs = parser.parse_args().jobs
    work = workloads()
    ways = {
        "search loop, 4 in flight": work.as_a_search,
        "submit all, gather all": work.in_bulk,
        "as_completed": work.as_an_iterator,
    }
    print(heading("Work per job, counted", "numpy"))
    print("| engine | storage | way | calls a job | locks a job |\n|---|---|---|---|---|")
    for method in ("serial", "thread", "process"):
        for name, storage in (("null", NullStorage), ("default", lambda: None)):
            for way, function in ways.items():
                called, taken = measured(work, method, function, jobs, storage)
                print(f"| {method} | {name} | {way} | {called:.1f} | {taken:.2f} |", flush=True)


if __name__ == "__main__":
    main()
