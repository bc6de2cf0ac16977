"""What a job costs on the local backends, compared with `concurrent.futures` and, if it is installed, deephyper.

    python benchmarks/bench_dispatch.py            about two minutes
    python benchmarks/bench_dispatch.py --quick    a tenth of the jobs

The run-function does nothing, with three parameters, on two workers. *loop*: four jobs in flight, gather one, submit
one. *bulk*: submit all, gather all. Pairs run in alternation; read the ratios. Runs of peers that become slower as
their history grows are kept short.
"""

from __future__ import annotations

import argparse
import concurrent.futures as futures
import contextlib
import gc
import itertools
import logging
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _tables import alternate, heading, row

from evalpool import Evaluator
from evalpool.callbacks import CSVLoggerCallback, LoggerCallback, SearchEarlyStopping
from evalpool.storage import NullStorage


def run(job: Any) -> float:
    return job["x"] * 2.0


def configurations(count: int) -> Iterator[dict[str, Any]]:
    return ({"x": n, "y": 1.0, "z": "a"} for n in range(count))


@contextlib.contextmanager
def warm(method: str, **kwargs: Any) -> Iterator[Evaluator]:
    with Evaluator.create(run, method, {"num_workers": 2, **kwargs}) as evaluator:
        evaluator.submit([{"x": 0}] * 4)
        evaluator.gather()
        yield evaluator


def loop(method: str, count: int, **kwargs: Any) -> float:
    with warm(method, **kwargs) as evaluator:
        left = configurations(count)
        start = time.perf_counter()
        evaluator.submit([next(left) for _ in range(4)])
        out, done = 4, 0
        while out:
            jobs = evaluator.gather("BATCH", 1)
            out, done = out - len(jobs), done + len(jobs)
            fresh = [c for _ in jobs if (c := next(left, None)) is not None]
            if fresh:
                evaluator.submit(fresh)
                out += len(fresh)
        assert done == count
        return count / (time.perf_counter() - start)


def bulk(method: str, count: int, **kwargs: Any) -> float:
    with warm(method, **kwargs) as evaluator:
        everything = list(configurations(count))
        start = time.perf_counter()
        evaluator.submit(everything)
        assert len(evaluator.gather("ALL")) == count
        return count / (time.perf_counter() - start)


def futures_loop(make: Any, count: int) -> float:
    with make(2) as pool:
        pool.submit(run, {"x": 0}).result()
        left = configurations(count)
        start = time.perf_counter()
        pending = {pool.submit(run, next(left)) for _ in range(4)}
        while pending:
            done, pending = futures.wait(pending, return_when=futures.FIRST_COMPLETED)
            for _ in done:
                fresh = next(left, None)
                if fresh is not None:
                    pending.add(pool.submit(run, fresh))
        return count / (time.perf_counter() - start)


def futures_bulk(make: Any, count: int) -> float:
    with make(2) as pool:
        pool.submit(run, {"x": 0}).result()
        start = time.perf_counter()
        submitted = [pool.submit(run, configuration) for configuration in configurations(count)]
        assert sum(1 for _ in futures.as_completed(submitted)) == count
        return count / (time.perf_counter() - start)


def deephyper_loop(method: str, count: int) -> float:
    from deephyper.evaluator import Evaluator as Theirs

    async def run_async(job: Any) -> float:
        return run(job)

    function = run_async if method == "serial" else run
    evaluator = Theirs.create(function, method=method, method_kwargs={"num_workers": 2})
    left = configurations(count)
    start = time.perf_counter()
    evaluator.submit([next(left) for _ in range(4)])
    done = 0
    while done < count:
        gathered = evaluator.gather("BATCH", size=1)
        jobs = gathered[0] if isinstance(gathered, tuple) else gathered
        done += len(jobs)
        fresh = [c for _ in jobs if (c := next(left, None)) is not None]
        if fresh:
            evaluator.submit(fresh)
    seconds = time.perf_counter() - start
    evaluator.close()
    return count / seconds


def busy(method: str | None) -> float:
    """How busy two workers are with 10 ms jobs while the search thinks 50 ms between gathers."""

    def work(job: Any) -> float:
        end = time.monotonic() + 0.01
        while (rest := end - time.monotonic()) > 0:
            time.sleep(rest)
        return 1.0

    evaluator = Evaluator.create(work, method or "thread", {"num_workers": 2})
    with evaluator:
        evaluator.submit([{}] * 2)
        evaluator.gather()
        jobs = evaluator.submit([{}] * 400)
        while evaluator.num_jobs_gathered < 402:
            time.sleep(0.05)  # the search's own thinking, which is what is measured
            evaluator.gather("BATCH", 1)
        start = min(job.metadata["timestamp_start"] for job in jobs)
        ends = [job.metadata["timestamp_end"] for job in jobs]
        total = sum(job.metadata["timestamp_end"] - job.metadata["timestamp_start"] for job in jobs)
        return total / (2 * (max(ends) - start))


def waiting_cpu() -> float:
    """CPU seconds of this process while a gather waits two seconds."""

    def sleep(job: Any) -> float:
        time.sleep(2.0)
        return 1.0

    with Evaluator.create(sleep, "process") as evaluator:
        evaluator.submit([{}])
        time.sleep(1.0)
        used = time.process_time()
        evaluator.gather()
        return time.process_time() - used


def watched_loop(method: str, count: int) -> float:
    """The loop as users run it: a table, the log and early stopping."""
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [
            CSVLoggerCallback(Path(folder) / "results.csv"),
            LoggerCallback(),
            SearchEarlyStopping(patience=10 * count, verbose=False),
        ]
        return loop(method, count, callbacks=callbacks)


def joblib_bulk(count: int) -> float:
    import joblib

    pool = joblib.Parallel(2)
    with pool:
        pool([joblib.delayed(run)({"x": 0})] * 4)
        start = time.perf_counter()
        assert len(pool(joblib.delayed(run)(configuration) for configuration in configurations(count))) == count
        return count / (time.perf_counter() - start)


def kept_bytes(method: str, count: int, way: str, **kwargs: Any) -> float:
    """What stays in memory of each job whose `Job` the caller has dropped.

    In a search loop with eight in flight; or of jobs that one call of `gather` returned, with no later call.
    """
    with warm(method, **kwargs) as evaluator:
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        left = configurations(count)
        done = 0
        evaluator.submit(list(itertools.islice(left, 8 if way == "loop" else count)))
        while done < count:
            gathered = len(evaluator.gather("BATCH", 1) if way == "loop" else evaluator.gather())
            done += gathered
            evaluator.submit(list(itertools.islice(left, gathered)))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return (after - before) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    count, repeats = (1_000, 2) if arguments.quick else (10_000, arguments.repeats)
    threads, processes = futures.ThreadPoolExecutor, futures.ProcessPoolExecutor
    logging.getLogger("evalpool").setLevel(logging.WARNING)
    print(heading("Dispatch", "evalpool", "joblib", "deephyper"))
    print("| what | evalpool | concurrent.futures | ratio (spread) | budget |\n|---|---|---|---|---|")
    found = alternate(
        {
            "peer": lambda: futures_loop(threads, count),
            "serial": lambda: loop("serial", count),
            "thread": lambda: loop("thread", count),
        },
        repeats,
    )
    print(row("serial, loop", found["serial"], found["peer"], 1.5))
    print(row("thread, loop", found["thread"], found["peer"], 1.0))
    found = alternate({"peer": lambda: futures_loop(processes, count), "ours": lambda: loop("process", count)}, repeats)
    print(row("process, loop", found["ours"], found["peer"], 3.5))
    found = alternate({"peer": lambda: futures_bulk(processes, count), "ours": lambda: bulk("process", count)}, repeats)
    print(row("process, bulk", found["ours"], found["peer"], 15.0))
    found = alternate(
        {"bare": lambda: loop("process", count), "watched": lambda: watched_loop("process", count)}, repeats
    )
    print(row("process, loop, with CSV, log and early stopping / without", found["watched"], found["bare"], None))
    with contextlib.suppress(ImportError):
        found = alternate({"peer": lambda: joblib_bulk(count), "ours": lambda: bulk("process", count)}, repeats)
        print(row("process, bulk / joblib", found["ours"], found["peer"], 1.0))
    for method in ("serial", "thread", "process"):
        found = alternate(
            {"small": lambda m=method: bulk(m, 1_000, storage=NullStorage()),
             "large": lambda m=method: bulk(m, 10 * count, storage=NullStorage())}, 3,
        )  # fmt: skip
        costs = sorted(a / b for a, b in zip(found["small"], found["large"], strict=True))
        spread = f"{costs[1]:.2f} ({costs[0]:.2f} - {costs[-1]:.2f})"
        print(f"\n{method}: cost per job at {10 * count:,} over that at 1,000: {spread}")
    with contextlib.suppress(ImportError, RuntimeError):  # the latter from mpi4py, if there is no MPI library
        for method in ("serial", "thread"):
            print(f"\ndeephyper {method}, loop of 300 jobs: {deephyper_loop(method, 300):,.0f} jobs/s")
    print(f"\nbusy workers while the search thinks: process {busy('process'):.3f}, thread {busy('thread'):.3f}")
    nothing = kept_bytes("process", count, "loop", storage=NullStorage())
    kept = [kept_bytes("process", count, way) for way in ("loop", "bulk")]
    print(
        f"\nbytes kept of a job that was dropped: {nothing:.1f} with NullStorage; in the default storage {kept[0]:.0f} "
        f"after a loop, {kept[1]:.0f} of {count:,} jobs of one gather before the next call"
    )
    print(f"\nCPU of a gather that waits 2 s: {waiting_cpu():.4f} s")


if __name__ == "__main__":
    main()
