"""Whether `evalpool.benchmarks.plan` predicts how busy workers are: against searches that really run.

    python benchmarks/bench_plan.py [--quick]

A search thinks 0, 10, 50 or 200 ms about each proposal; an evaluation sleeps for a time drawn from a lognormal
distribution; threads and processes of this machine run them. The plan knows the distribution and the think time, and
the time to bring a job to a worker, which it measures. The runtimes of the real run are the quantiles of the
distribution in a random order, which the plan does not know; a second prediction is from the times that the run
recorded. Utilisation is what the workers slept, by the jobs'
metadata, over workers x the time from the first proposal to the last end.

Then Optuna's TPE, whose times are measured first, by `SearchTimes.measured`, and grow with the results.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

from _tables import heading

from evalpool import Evaluator, OptunaOptimizer, optimize
from evalpool.benchmarks import SearchTimes, measured_dispatch, plan, recorded_runtimes

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


def really(method: str, optimizer: Any, workers: int, count: int) -> tuple[float, float, list[float]]:
    """Utilisation, makespan and runtimes of a run; the workers are up before."""
    with Evaluator.create(sleeping, method=method, method_kwargs={"num_workers": workers}) as evaluator:
        started: set[Any] = set()
        while len(started) < workers:
            evaluator.submit([{"seconds": 0.05}] * workers)
            warm = evaluator.gather("ALL")
            started |= {job.worker for job in warm}
        began = max(job.metadata["timestamp_gather"] for job in warm)
        jobs = optimize(evaluator, optimizer, count)
        seconds = recorded_runtimes(jobs)
        makespan = max(job.metadata["timestamp_end"] for job in jobs) - began
    assert len(jobs) == len(seconds) == count
    return sum(seconds) / (workers * makespan), makespan, seconds


def line(name: str, real: tuple[float, float, list[float]], times: Any, workers: int, dispatch: float) -> str:
    """A row of the table, with the predictions from the distribution and from what was recorded."""
    busy, makespan, seconds = real
    cells, errors = [], []
    for runtimes in (draw, seconds):
        found = plan(
            times, runtimes, workers=[workers], max_evals=len(seconds), dispatch=dispatch, batch_sizes=(), repeats=20
        )
        (row,) = found.rows
        cells.append(f"{100 * row.utilisation:.1f} % | {row.makespan:.2f} s")
        errors.append(f"{100 * (row.utilisation - busy):+.1f}")
    load = os.getloadavg()[0]
    return (
        f"| {name} | {100 * busy:.1f} % | {makespan:.2f} s | {cells[0]} | {errors[0]} | {cells[1]} | {errors[1]} | "
        f"{load:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    workers, count = 4, 60 if quick else 200
    print(heading(f"Utilisation by plan and by real runs, {workers} workers, {count} evaluations", "optuna"))
    print(
        "| run | busy | makespan | by the distribution: busy | makespan | points | by the records: busy | makespan | "
        "points | load |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for method in ("thread", "process"):
        dispatch = measured_dispatch(method)
        for think in (0.0, 0.01, 0.05, 0.2):
            real = really(method, Thinking(think, quantiles(count, seed=1)), workers, count)
            name = f"{method}, {1e3 * think:g} ms"
            print(line(name, real, SearchTimes(think), workers, dispatch), flush=True)
        try:
            measured = SearchTimes.measured(
                tpe(2, quantiles(count, 2)), lambda job: -sum(job[name] for name in SPACE), count
            )
        except ImportError:
            print("\nOptuna is not installed: pip install -r benchmarks/requirements.txt")
            continue
        real = really(method, tpe(1, quantiles(count, 1)), workers, count)
        print(line(f"{method}, TPE measured", real, measured, workers, dispatch), flush=True)


if __name__ == "__main__":
    main()
