"""Compare searches with up to 512 workers in seconds: simulated time on a table of real training runs.

The table holds the error of a neural network on scikit-learn's images of digits, and the time of its training, for 360
configurations at 1, 3, 9 and 27 epochs (digits_table/make.py made it; it comes with evalpool). Three searches look for
the smallest error on 1, 8, 64 and 512 virtual workers, as if each training had really been done:

    random search         27 epochs each
    TPE                   of Optuna; 27 epochs each
    successive halving    asynchronous: many at one epoch, the best third of them continue to 3, then 9, then 27; each
                          training continues and takes time for the further epochs only

    python examples/tabular.py            five seeds each, about half a minute
    python examples/tabular.py --quick    one seed, less time each

The picture is written to tabular.png. Needs: pip install "evalpool[optuna,plot]"
"""

import argparse
import itertools
import time
from typing import Any

import optuna
from matplotlib.figure import Figure

from evalpool import OptunaOptimizer, RandomSearch, simulate
from evalpool.analysis import performance_over_time, plot_performance_over_time
from evalpool.benchmarks import Benchmark, load
from evalpool.search import SuccessiveHalving
from evalpool.simulation import SimulationResult

EPOCHS = 27
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def average(training: Benchmark) -> float:
    """Seconds of a whole training, on average."""
    space = training.space
    grid = (dict(zip(space, values, strict=True)) for values in itertools.product(*space.values()))
    whole: list[float] = [training(configuration)["runtime"] for configuration in grid]
    return sum(whole) / len(whole)


def searches(training: Benchmark, seed: int) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Name -> an optimiser, and the further arguments of `simulate` for it."""
    sampler = optuna.samplers.TPESampler(seed=seed)
    return {
        "random search": (RandomSearch(training, seed), {}),
        "TPE": (OptunaOptimizer(sampler, training), {}),
        "successive halving": (
            SuccessiveHalving(training, "epochs", 1, EPOCHS, seed=seed),
            {"fidel_key": "epochs", "continual_max_fidel": EPOCHS},
        ),
    }


def main(seeds: int, least: float, trainings: int) -> None:
    """Compare the searches, with time for `trainings` average trainings in all, and for `least` on each worker."""
    training = load("digits")  # a run-function that knows its space
    each = average(training)
    figure = Figure(figsize=(10, 7), layout="constrained")
    began, slept, jobs = time.perf_counter(), 0.0, 0
    for ax, workers in zip(figure.subplots(2, 2).flat, (1, 8, 64, 512), strict=True):
        end = each * (least + trainings / workers)
        runs: dict[str, list[SimulationResult]] = {}
        for seed in range(seeds):
            for name, (optimizer, settings) in searches(training, seed).items():
                result = simulate(optimizer, training, num_workers=workers, max_time=end, seed=seed, **settings)
                runs.setdefault(name, []).append(result)
                slept, jobs = slept + end, jobs + len(result.trace)
        curves = {}
        for name, results in runs.items():
            # Before the first result the error is that of guessing one digit of ten.
            ends = [[0.0, *(row["end"] for row in result.completions)] for result in results]
            errors = [[0.9, *(-objective for objective in result.objectives)] for result in results]
            best = sum(min(values) for values in errors) / seeds
            count = sum(len(result.objectives) for result in results) / seeds
            print(f"{workers:3} workers, {end:6.1f} s: {name:18} {count:6.0f} evaluations, error {best:.4f}")
            curves[name] = performance_over_time(ends, errors, grid="log", start=each / 20, end=end)
        plot_performance_over_time(curves, ax=ax, band="quantiles")
        ax.get_legend().remove()  # one for all, below
        ticks = [tick for tick in TICKS if each / 20 <= tick <= end]
        ax.set(title=f"{workers} worker{'s' if workers > 1 else ''}", ylabel="error", xlabel="virtual time [s]")
        ax.set_yscale("log")
        ax.set_ylim(0.005, 1.0)
        ax.minorticks_off()
        ax.set_xticks(ticks, map(str, ticks))
        ax.set_yticks(
            [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.5 %", "1 %", "2 %", "5 %", "10 %", "20 %", "50 %", ""]
        )
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    figure.savefig("tabular.png", dpi=90)
    took = time.perf_counter() - began
    print(f"{jobs} trainings in {slept:.0f} s of virtual time took {took:.1f} s. Picture: tabular.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, less time each")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if parser.parse_args().quick:
        main(seeds=1, least=0.4, trainings=10)
    else:
        main(seeds=5, least=0.5, trainings=60)
