"""Six families of optimisers on benchmarks with 1 to 512 virtual workers: the digests of their cells, on any backend.

A few evaluations each, so that all of it takes seconds; `benchmarks/bench_families.py` has the whole matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from evalpool.benchmarks import Benchmark, compare
from evalpool.search import SkoptOptimizer
from evalpool.search._named import named_search, quiet_optuna, skopt_dimensions

__all__ = ["FAMILIES", "WORKERS", "digests"]

WORKERS = (1, 8, 64, 512)
FEW = 14
"""Evaluations with few workers: so many that each family has learned something."""

Made = tuple[Any, dict[str, Any]]


def named(name: str, most: int = 600, otherwise: str = "") -> Callable[..., Made]:
    """What makes the search of this name, with at most so many evaluations.

    Args:
        name: of a search.
        most: evaluations.
        otherwise: the search on a benchmark that the other cannot search.
    """

    def make(benchmark: Benchmark, seed: int, workers: int) -> Made:
        quiet_optuna()
        count = min(most, max(FEW, workers + 4))
        choices = any(isinstance(one, list) for one in benchmark.space.values())
        lacks = {"hyperband": benchmark.fidelity is None, "cmaes": choices}.get(name, False)
        search = named_search(otherwise if lacks else name, benchmark, seed, num_workers=workers, max_evals=count)
        return search, {"max_submits": count}

    return make


def gaussian_process(benchmark: Benchmark, seed: int, workers: int) -> Made:
    """scikit-optimize's, with settings that make a fit cheap; as `skopt` makes it, each takes a second."""
    import skopt
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)  # of BLAS: on a busy machine its threads wait for each other, each with a whole CPU
    space = skopt.space.Space(skopt_dimensions(benchmark.space))
    model = skopt.utils.cook_estimator("GP", space=space, random_state=seed, noise="gaussian", n_restarts_optimizer=0)
    optimizer = skopt.Optimizer(
        space.dimensions, model, n_initial_points=8, acq_func="EI", acq_optimizer="sampling",
        acq_optimizer_kwargs={"n_points": 50}, random_state=seed,
    )  # fmt: skip
    return SkoptOptimizer(optimizer), {"max_submits": FEW}


# A proposal of nevergrad takes some ms, so that its searches are short.
FAMILIES: dict[str, Callable[..., Made]] = {
    "random": named("random"),
    "TPE": named("tpe"),
    "CMA-ES": named("cmaes", otherwise="nevergrad:CMA", most=40),
    "GP": gaussian_process,
    "bandit": named("hyperband", otherwise="nevergrad:NoisyBandit", most=40),
    "evolution": named("nevergrad:TwoPointsDE", most=40),
}


def on_engine(make: Callable[..., Made], engine: str | None) -> Callable[..., Made]:
    """The same search; an engine evaluates its configurations."""

    def made(benchmark: Benchmark, seed: int, num_workers: int) -> Made:
        search, settings = make(benchmark, seed, num_workers)
        return search, {**settings, "evaluator": engine}

    return made


def digests(
    benchmarks: Iterable[Benchmark],
    evaluator: str = "serial",
    engine: str | None = None,
    workers: Iterable[int] = WORKERS,
    families: Iterable[str] = tuple(FAMILIES),
) -> dict[str, str]:
    """The digest of each cell.

    Args:
        benchmarks: that are searched.
        evaluator: runs the cells.
        engine: evaluates the configurations of each cell; None: the thread of the cell.
        workers: numbers of virtual workers.
        families: their names.
    """
    searches = {name: on_engine(FAMILIES[name], engine) for name in families}
    # What ends a cell is that its search is asked for no more.
    found = compare(searches, list(benchmarks), workers=workers, seeds=1, max_time=1e9, evaluator=evaluator)
    assert not found.errors, found.errors
    assert not found.missing
    return {str(cell): found.digest(cell) for cell in found.cells}
