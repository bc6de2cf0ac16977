"""What records cost a search: durable storages beside memory, callbacks beside none, and a look at a large store.

    python benchmarks/bench_records.py [--quick] [--repeats 7]

Pairs run in alternation. Rates are of jobs of 1 ms on two worker processes in a search loop with four in flight, or of
jobs that do nothing with the usual callbacks; *CPU* is that of this process and of the workers that have ended. The
last two lines are counts: CPU seconds of `evalpool status`, beside those of reading and parsing the same rows, and the
bytes that stay in memory of each job whose `Job` was dropped.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from _tables import alternate, heading, row
from bench_dispatch import kept_bytes, loop, watched_loop
from bench_storage import clients, with_workers

from evalpool.storage import Event, SQLiteStorage, Storage

PLACE = {"worker": "process-1", "host": "node", "pid": 1234}


def keep_evaluated_jobs(storage: Storage, count: int) -> None:
    """Record so many jobs as an evaluator with worker processes records them: four events each."""
    search_id = storage.create_new_search()
    for first in range(0, count, 1000):
        numbers = range(first, min(count, first + 1000))
        storage.reserve(search_id, len(numbers))
        events = []
        for n in numbers:
            args = {"x": n, "y": 0.5, "z": "text"}
            times = {"timestamp_start": n * 0.001, "timestamp_end": n * 0.001 + 0.1}
            end = {"status": "DONE", "objective": 0.5 * (n % 1000), "output": {"objective": 0.5 * (n % 1000)}}
            events += [
                Event("created", search_id, n, {"args": args, "submit": n * 0.001, "owner": "a"}),
                Event("started", search_id, n, {"start": n * 0.001, "attempt": 1, **PLACE}),
                Event("finished", search_id, n, {**end, "attempts": 1, **times, **PLACE}),
                Event("gathered", search_id, n, {"timestamp_gather": n * 0.001 + 0.2}),
            ]
        storage.append(events)


def status_cpu(path: Path) -> float:
    """CPU seconds of `evalpool status`."""
    return child_cpu([sys.executable, "-m", "evalpool", "status", str(path)])


def parsing_cpu(path: Path) -> float:
    """CPU seconds of a program that reads all rows and parses their JSON."""
    program = (
        "import sys, sqlite3, json\nfor (data,) in sqlite3.connect(sys.argv[1]).execute('SELECT data FROM events'): "
    )
    return child_cpu([sys.executable, "-c", f"{program}json.loads(data)", str(path)])


def child_cpu(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    repeats = arguments.repeats
    few, many, stored = (200, 1_000, 20_000) if arguments.quick else (1_000, 10_000, 200_000)
    logging.getLogger("evalpool").setLevel(logging.WARNING)
    print(heading("Records", "pydantic", "redis"))
    print("| what | with | without | ratio (spread) | budget |\n|---|---|---|---|---|")
    with ExitStack() as stack:
        makers = clients(stack)
        for name in ("sqlite", "journal", "redis"):
            if name in makers:
                found = alternate(
                    {"kept": lambda n=name: with_workers(makers[n], few),
                     "memory": lambda: with_workers(makers["memory"], few)}, repeats,
                )  # fmt: skip
                print(row(f"jobs of 1 ms, {name} / memory", found["kept"], found["memory"], 0.75), flush=True)
    found = alternate(
        {"bare": lambda: loop("process", many), "watched": lambda: watched_loop("process", many)}, repeats
    )
    print(row("process, loop, CSV, log and early stopping / none", found["watched"], found["bare"], 0.8), flush=True)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "s.db"
        with SQLiteStorage(path) as storage:
            keep_evaluated_jobs(storage, stored)
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT count(*) FROM job_rows").fetchone() == (stored,)
        found = alternate({"status": lambda: status_cpu(path), "parsing": lambda: parsing_cpu(path)}, repeats)
    ratios = sorted(a / b for a, b in zip(found["status"], found["parsing"], strict=True))
    print(
        f"\nCPU of `status` of {stored:,} jobs in SQLite: {statistics.median(found['status']):.2f} s "
        f"({min(found['status']):.2f} - {max(found['status']):.2f}; budget 2), {statistics.median(ratios):.2f} "
        f"({ratios[0]:.2f} - {ratios[-1]:.2f}) of reading all rows and parsing their JSON"
    )
    kept = [kept_bytes("process", many, way) for way in ("loop", "bulk")]
    print(
        f"\nbytes kept of a job that was dropped: {kept[0]:.0f} after a loop (budget 350); "
        f"{kept[1]:.0f} of {many:,} jobs of one gather before the next call"
    )
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}; more than 3 means that something else ran")


if __name__ == "__main__":
    main()
