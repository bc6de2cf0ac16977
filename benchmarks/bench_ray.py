"""What the Ray backend costs per job, beside raw Ray tasks, raw Ray actors and deephyper's Ray evaluator.

    python benchmarks/bench_ray.py [--quick] [--no-deephyper]

A run-function that does nothing, configurations of three parameters, two workers on one machine. Each system does
in turn, `REPEATS` times: everything submitted at once; a search loop with four jobs in flight, where each finished
job is followed by one more; and arrays of 10 MB in and out. The median counts, in jobs per second. Then the search
loop again after 100 000 jobs, which must be as fast as after the first 1 000.

Budgets: search loop at least 1.0 x the better of tasks and actors, submit all at least 3 x; arrays at least 1.0 x
actors; cost at 100 000 jobs at most 1.2 x that at 1 000.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import logging
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

WORKERS = 2
IN_FLIGHT = 4
REPEATS = 5
ROUNDS = 4
FLAT = 1.2
CONFIGURATION = {"x": 1.0, "y": 2, "z": "three"}

Submit = Callable[[dict[str, Any]], None]


def nothing(job: Any) -> float:
    return 1.0


def echo(job: Any) -> Any:
    return {"objective": 1.0, "array": job["array"]}


class Tasks:
    """`ray.remote` functions, as Ray's own documentation shows them."""

    name = "raw Ray tasks"

    def __init__(self, function: Callable[[Any], Any]) -> None:
        import ray

        self.ray = ray
        self.call = ray.remote(function).remote
        self.pending: list[Any] = []

    def submit(self, configurations: list[dict[str, Any]]) -> None:
        self.pending.extend(self.call(configuration) for configuration in configurations)

    def gather_one(self) -> int:
        done, self.pending = self.ray.wait(self.pending, num_returns=1)
        self.ray.get(done)
        return len(done)

    def gather_all(self) -> None:
        self.ray.get(self.pending)
        self.pending = []

    def close(self) -> None:
        pass


class Actors(Tasks):
    """One actor per worker, called in turn."""

    name = "raw Ray actors"

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__(function)

        class Worker:
            def run(self, configuration: dict[str, Any]) -> Any:
                return function(configuration)

        self.actors = [self.ray.remote(Worker).options(num_cpus=1).remote() for _ in range(WORKERS)]
        self.turn = 0

        def call(configuration: dict[str, Any]) -> Any:
            self.turn += 1
            return self.actors[self.turn % WORKERS].run.remote(configuration)

        self.call = call

    def close(self) -> None:
        for actor in self.actors:
            self.ray.kill(actor)


class Ours:
    name = "evalpool"

    def __init__(self, function: Callable[[Any], Any]) -> None:
        from evalpool import RayEvaluator
        from evalpool.storage import NullStorage

        # Raw Ray drops results; an evaluator without a storage would keep them all, and pay for ever more memory.
        kwargs = {"storage": NullStorage()} if function is echo else {}
        self.evaluator = RayEvaluator(function, num_workers=WORKERS, **kwargs)
        self.submit = self.evaluator.submit

    def gather_one(self) -> int:
        return len(self.evaluator.gather("BATCH", 1))

    def gather_all(self) -> None:
        self.evaluator.gather("ALL")

    def close(self) -> None:
        self.evaluator.close()


class Deephyper:
    name = "deephyper on Ray"

    def __init__(self, function: Callable[[Any], Any]) -> None:
        from deephyper.evaluator import Evaluator

        logging.disable(logging.WARNING)
        kwargs = {"num_cpus_per_task": 1, "num_workers": WORKERS, "ray_kwargs": {"ignore_reinit_error": True}}
        self.evaluator = Evaluator.create(function, method="ray", method_kwargs=kwargs)

    def submit(self, configurations: list[dict[str, Any]]) -> None:
        self.evaluator.submit(configurations)

    def gather_one(self) -> int:
        found = self.evaluator.gather("BATCH", size=1)
        jobs = found[0] if isinstance(found, tuple) else found
        return len(jobs)

    def gather_all(self) -> None:
        self.evaluator.gather("ALL")

    def close(self) -> None:
        self.evaluator.close()


def submit_all(system: Any, count: int) -> float:
    """Jobs per second."""
    begin = time.perf_counter()
    system.submit([dict(CONFIGURATION) for _ in range(count)])
    system.gather_all()
    return count / (time.perf_counter() - begin)


def search_loop(system: Any, count: int) -> float:
    """Jobs per second."""
    begin = time.perf_counter()
    system.submit([dict(CONFIGURATION) for _ in range(IN_FLIGHT)])
    done = 0
    while done < count:
        found = system.gather_one()
        done += found
        system.submit([dict(CONFIGURATION) for _ in range(found)])
    rate = done / (time.perf_counter() - begin)
    system.gather_all()
    return rate


def arrays(system: Any, count: int) -> float:
    """Jobs per second, with an array of 10 MB of its own for each, in and out."""
    import numpy as np

    seconds = 0.0
    for _ in range(ROUNDS):  # the first finds memory that nobody has used before, which a virtual machine has to fetch
        configurations = [{"array": np.full(10_000_000 // 8, float(n))} for n in range(count)]
        begin = time.perf_counter()
        system.submit(configurations)
        system.gather_all()
        seconds = time.perf_counter() - begin
    return count / seconds


@contextlib.contextmanager
def ready(make: Callable[..., Any], function: Callable[[Any], Any], first: dict[str, Any]) -> Iterator[Any]:
    """A system whose workers are up."""
    system = make(function)
    try:
        for _ in range(4):
            system.submit([first] * 10)
            system.gather_all()
        yield system
    finally:
        system.close()


def measure(systems: list[Any], what: Callable[[Any, int], float], counts: dict[Any, int]) -> dict[str, float]:
    """The median rate of each system; they take turns, so that a busy minute of the machine meets all of them."""
    import numpy as np

    first = {"array": np.zeros(1)} if what is arrays else CONFIGURATION
    rates: dict[str, list[float]] = {make.name: [] for make in systems}
    for _ in range(REPEATS):
        for make in systems:
            with ready(make, echo if what is arrays else nothing, first) as system:
                rates[make.name].append(what(system, counts.get(make, counts[None])))
    for name, found in rates.items():
        print(
            f"  {name:20} {statistics.median(found):10.0f} jobs/s   ({min(found):.0f} to {max(found):.0f})", flush=True
        )
    return {name: statistics.median(found) for name, found in rates.items()}


def verdict(what: str, value: float, least: float) -> bool:
    print(f"  {what}: {value:.2f} x, budget {least:.1f} x: {'kept' if value >= least else 'MISSED'}")
    return value >= least


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs, no deephyper")
    parser.add_argument("--no-deephyper", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import ray

    import evalpool

    ray.init(
        num_cpus=4,
        object_store_memory=500_000_000,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )
    print(f"{datetime.date.today()}, {platform.platform()}, Python {platform.python_version()}, Ray {ray.__version__}, "
          f"evalpool {evalpool.__version__}; medians of {REPEATS}")  # fmt: skip
    systems: list[Any] = [Tasks, Actors, Ours]
    if not (options.quick or options.no_deephyper):
        systems.append(Deephyper)
    scale = 10 if options.quick else 1
    kept = []

    print("submit all, gather all (1 000 jobs):")
    found = measure(systems, submit_all, {None: 1000 // scale * (1 if scale == 1 else 5), Deephyper: 200})
    kept.append(verdict("evalpool over the better of raw Ray", found["evalpool"] / _better(found), 3.0))
    print(f"search loop, {IN_FLIGHT} in flight:")
    found = measure(systems, search_loop, {None: 2000 // scale, Deephyper: 100})
    kept.append(verdict("evalpool over the better of raw Ray", found["evalpool"] / _better(found), 1.0))
    print("10 MB in and out:")
    found = measure([Actors, Ours], arrays, {None: 20 // min(scale, 2)})
    kept.append(verdict("evalpool over raw Ray actors", found["evalpool"] / found[Actors.name], 1.0))

    print("as history grows, search loop:")
    with ready(Ours, nothing, CONFIGURATION) as system:
        few = max(search_loop(system, 1000) for _ in range(REPEATS))
        submit_all(system, 100_000 // scale)
        many = max(search_loop(system, 1000) for _ in range(REPEATS))
    print(f"  after 1 000 jobs {few:.0f} jobs/s, after {100_000 // scale + 5000} {many:.0f} jobs/s")
    kept.append(verdict("rate kept", many / few, 1 / FLAT))
    ray.shutdown()
    return 0 if all(kept) else 1


def _better(found: dict[str, float]) -> float:
    return max(found[Tasks.name], found[Actors.name])


if __name__ == "__main__":
    sys.exit(main())
