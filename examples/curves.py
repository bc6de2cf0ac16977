"""How much does it help to end bad trainings early? Stoppers on learning curves, in simulated time.

The table of real trainings that comes with evalpool has the error of each network after 1, 3, 9 and 27 epochs, and the
time that it took until then. Random search looks for the smallest error with eight workers and two seconds of virtual
time, as if each training had really been done. A stopper hears of each point of a curve at its time; a worker whose
training is ended gets the next one at once.

    no stopper    each training runs for 27 epochs
    median rule   ends trainings that are worse than the median of the others
    halving       lets the best third continue at 1, 3 and 9 epochs: ASHA, in the form that stops
    Hyperband     the same in four brackets, which begin to compare at 1, 3, 9 and 27 epochs
    promotion     halving in the form that promotes: each training ends after one epoch, and the best third are
                  continued up to 3, then 9, then 27; a continued one takes the time of its further epochs only

    python examples/curves.py
"""

import statistics
import time
from typing import Any

from evalpool import RandomSearch, simulate
from evalpool.benchmarks import Benchmark, load
from evalpool.search import HyperbandStopper, MedianStopper, SuccessiveHalving, SuccessiveHalvingStopper

WORKERS = 8
EPOCHS = 27
SECONDS = 2.0
SEEDS = 10

STOPPERS: dict[str, Any] = {
    "no stopper": lambda: None,
    "median rule": lambda: MedianStopper(EPOCHS, min_competing=5),
    "halving": lambda: SuccessiveHalvingStopper(EPOCHS),
    "Hyperband": lambda: HyperbandStopper(EPOCHS),
}


def search(name: str, training: Benchmark, seed: int) -> tuple[int, float, float]:
    """How many trainings began or were continued, the best error, and when an error below 3 % was known."""
    settings: dict[str, Any] = {"num_workers": WORKERS, "max_time": SECONDS, "seed": seed}
    if name == "promotion":
        halving = SuccessiveHalving(training, "epochs", 1, EPOCHS, seed=seed)
        result = simulate(halving, training, fidel_key="epochs", continual_max_fidel=EPOCHS, **settings)
    else:
        result = simulate(RandomSearch(training, seed), training, stopper=STOPPERS[name](), **settings)
    ends = [row["end"] for row in result.completions]
    good = (end for end, objective in zip(ends, result.objectives, strict=True) if objective > -0.03)
    return len(result.trace), -max(result.objectives), next(good, SECONDS)


def main() -> None:
    training = load("digits", curve=True)  # a run-function that knows its space, and its curves
    began = time.perf_counter()
    names = [*STOPPERS, "promotion"]
    for name in names:
        found = [search(name, training, seed) for seed in range(SEEDS)]
        count, error, seconds = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"{name:11} {count:4.0f} trainings, best error {error:.4f}, below 3 % after {seconds:.2f} s")
    slept = len(names) * SEEDS * SECONDS
    print(f"{slept:.0f} s of virtual time on {WORKERS} workers took {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
