"""What large arrays cost on the process backend, beside `concurrent.futures`, joblib and deephyper.

    python benchmarks/bench_payload.py            about two minutes
    python benchmarks/bench_payload.py --quick    a few jobs of each

*in and out*: each job gets an array of 10 MB in its configuration and returns one of 10 MB; two workers, four jobs in
flight; nobody keeps the results, or the default storage does, a gigabyte of them. *captured*: jobs that do nothing
with 100 MB in the run-function, or in its keyword arguments; the cost of the first job, which sends the 100 MB
to a worker, is included. Pairs run in alternation; read the ratios.
"""

from __future__ import annotations

import argparse
import concurrent.futures as futures
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _tables import alternate, heading, row

from evalpool import Evaluator
from evalpool.storage import NullStorage

MEGABYTE = 1_000_000


def array(size: int) -> Any:
    return np.random.default_rng(0).integers(0, 255, size, np.uint8)


def in_and_out(job: Any) -> Any:
    return {"objective": 0.0, "metadata": {"array": job["array"] + np.uint8(1)}}


def evalpool_in_and_out(count: int, size: int, *, kept: bool = False) -> float:
    given = array(size)
    storage = None if kept else NullStorage()
    with Evaluator.create(in_and_out, "process", {"num_workers": 2, "storage": storage}) as evaluator:
        evaluator.submit([{"array": given[:10]}] * 4)
        evaluator.gather()
        start = time.perf_counter()
        evaluator.submit([{"array": given}] * 4)
        left, done = count - 4, 0
        while done < count:
            for job in evaluator.gather("BATCH", 1):
                assert job.metadata["array"].nbytes == size
                done += 1
                if left:
                    evaluator.submit([{"array": given}])
                    left -= 1
        return count / (time.perf_counter() - start)


def futures_in_and_out(count: int, size: int, make: Callable[..., Any] = futures.ProcessPoolExecutor) -> float:
    given = array(size)
    with make(2) as pool:
        list(pool.map(in_and_out, [{"array": given[:10]}] * 4))
        start = time.perf_counter()
        pending = {pool.submit(in_and_out, {"array": given}) for _ in range(4)}
        left = count - 4
        while pending:
            done, pending = futures.wait(pending, return_when=futures.FIRST_COMPLETED)
            for future in done:
                assert future.result()["metadata"]["array"].nbytes == size
                if left:
                    pending.add(pool.submit(in_and_out, {"array": given}))
                    left -= 1
        return count / (time.perf_counter() - start)


class Captured:
    """A function that holds an array, for engines that pickle it with each job."""

    def __init__(self, size: int) -> None:
        self.data = array(size)

    def __call__(self, job: Any) -> float:
        return float(self.data[job["x"]])


def evalpool_captured(count: int, size: int, *, in_kwargs: bool = False) -> float:
    function = Captured(size)

    def with_data(job: Any, data: Any) -> float:
        return float(data[job["x"]])

    options: dict[str, Any] = {"num_workers": 2}
    if in_kwargs:
        options["run_function_kwargs"] = {"data": function.data}
    with Evaluator.create(with_data if in_kwargs else function, "process", options) as evaluator:
        start = time.perf_counter()
        evaluator.submit([{"x": n} for n in range(count)])
        assert len(evaluator.gather()) == count
        return count / (time.perf_counter() - start)


def futures_captured(count: int, size: int) -> float:
    function = Captured(size)
    with futures.ProcessPoolExecutor(2) as pool:
        start = time.perf_counter()
        assert sum(1 for _ in pool.map(function, [{"x": n} for n in range(count)])) == count
        return count / (time.perf_counter() - start)


def joblib_captured(count: int, size: int) -> float:
    import joblib

    function = Captured(size)
    start = time.perf_counter()
    assert len(joblib.Parallel(2)(joblib.delayed(function)({"x": n}) for n in range(count))) == count
    return count / (time.perf_counter() - start)


def joblib_in_and_out(count: int, size: int) -> float:
    import joblib

    given = array(size)
    pool = joblib.Parallel(2, return_as="generator_unordered", pre_dispatch=4)
    with pool:
        list(pool(joblib.delayed(in_and_out)({"array": given[:10]}) for _ in range(4)))
        start = time.perf_counter()
        for result in pool(joblib.delayed(in_and_out)({"array": given}) for _ in range(count)):
            assert result["metadata"]["array"].nbytes == size
        return count / (time.perf_counter() - start)


def deephyper_in_and_out(count: int, size: int) -> float:
    from deephyper.evaluator import Evaluator as Theirs

    given = array(size)
    evaluator = Theirs.create(in_and_out, method="process", method_kwargs={"num_workers": 2})
    start = time.perf_counter()
    evaluator.submit([{"array": given} for _ in range(4)])
    done = 0
    while done < count:
        gathered = evaluator.gather("BATCH", size=1)
        jobs = gathered[0] if isinstance(gathered, tuple) else gathered
        done += len(jobs)
        evaluator.submit([{"array": given} for _ in range(min(len(jobs), max(0, count - done - 3)))])
    seconds = time.perf_counter() - start
    evaluator.close()
    return count / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000_000], help="bytes of an array")
    arguments = parser.parse_args()
    count, few, repeats = (20, 4, 2) if arguments.quick else (100, 10, arguments.repeats)
    print(heading("Large arrays, two processes", "evalpool", "joblib", "deephyper"))
    print("| what | evalpool | peer | ratio (spread) | budget |\n|---|---|---|---|---|")
    for size in arguments.sizes:
        measures = {
            "ours": partial(evalpool_in_and_out, count, size),
            "kept": partial(evalpool_in_and_out, count, size, kept=True),
            "concurrent.futures": partial(futures_in_and_out, count, size),
        }
        with contextlib.suppress(ImportError):
            import joblib

            measures[f"joblib {joblib.__version__}"] = partial(joblib_in_and_out, count, size)
        found = alternate(measures, repeats)
        ours, kept = found.pop("ours"), found.pop("kept")
        for peer, values in found.items():
            has_budget = peer == "concurrent.futures" and size >= 10_000_000
            print(row(f"{size:,} bytes in and out / {peer}", ours, values, 4.0 if has_budget else None))
            name = f"{size:,} bytes in and out, kept by the default storage / {peer}"
            print(row(name, kept, values, 3.0 if has_budget else None))
        with contextlib.suppress(ImportError, RuntimeError):  # the latter from mpi4py, if there is no MPI library
            theirs = [deephyper_in_and_out(few, size)]
            print(row(f"{size:,} bytes in and out / deephyper, once", ours[:1], theirs, None))
    size = 100_000_000
    found = alternate(
        {
            "ours": partial(evalpool_captured, few, size),
            "in kwargs": partial(evalpool_captured, few, size, in_kwargs=True),
            "concurrent.futures": partial(futures_captured, few, size),
            "joblib": partial(joblib_captured, few, size),
        },
        min(repeats, 3),
    )
    for peer in ("concurrent.futures", "joblib"):
        print(row(f"100 MB captured, {few} jobs / {peer}", found["ours"], found[peer], None))
    print(
        row(f"100 MB in kwargs, {few} jobs / concurrent.futures", found["in kwargs"], found["concurrent.futures"], None)
    )
    found = alternate(
        {"many": partial(evalpool_captured, 50 * few, size), "few": partial(evalpool_captured, few, size)}, 3
    )
    print(row(f"100 MB captured, {50 * few} jobs / {few} jobs", found["many"], found["few"], None))


if __name__ == "__main__":
    main()
