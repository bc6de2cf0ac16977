"""Two searches in one store, at the same time, and a comparison of their results.

Two programs minimise the same function. One searches everywhere; the other searches around the best point that it
knows. Each is a search of its own in `two_searches.db`; a third program, this one, reads both from there.

    python examples/two_searches.py
"""

import subprocess
import sys
from typing import Any

import numpy as np

from evalpool import Evaluator, Job, RandomSearch, RunningJob, optimize
from evalpool.storage import SQLiteStorage, Storage

STORE = "two_searches.db"
EVALUATIONS = 60
SPACE = {"x": (-5.0, 5.0), "y": (-5.0, 5.0)}


def run(job: RunningJob) -> float:
    """The run-function: Rosenbrock's valley, negative because objectives are maximised."""
    x, y = float(job["x"]), float(job["y"])
    return -((1 - x) ** 2) - 100 * (y - x**2) ** 2


class NearTheBest:
    """An optimiser that proposes points around the best one that it was told."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._best: Job[Any] | None = None

    def ask(self) -> dict[str, float]:
        if self._best is None or self._rng.random() < 0.2:
            return {name: float(self._rng.uniform(*bounds)) for name, bounds in SPACE.items()}
        return {name: float(value + self._rng.normal(0, 0.3)) for name, value in self._best.args.items()}

    def tell(self, job: Job[Any]) -> None:
        if job.kind is None and (self._best is None or job.objective > self._best.objective):
            self._best = job


OPTIMIZERS = {"everywhere": RandomSearch(SPACE, seed=0), "near the best": NearTheBest(seed=0)}


def search(strategy: str) -> None:
    """One search; its strategy is stored with its results."""
    with SQLiteStorage(STORE) as storage:
        with Evaluator.create(run, method="thread", method_kwargs={"storage": storage}) as evaluator:
            storage.store_search_value(evaluator.search_id, "strategy", strategy)
            optimize(evaluator, OPTIMIZERS[strategy], EVALUATIONS)


def compare(storage: Storage) -> None:
    for search_id in storage.load_all_search_ids():
        records = storage.results(search_id)
        best = max(records, key=lambda record: record.objective)
        strategy = storage.load_search_value(search_id, "strategy")
        table = storage.to_csv(f"{strategy.replace(' ', '_')}.csv", search_id)
        print(f"search {search_id}, {strategy}: {len(records)} evaluations, best {best.objective:.4f}, in {table.name}")


def main() -> None:
    programs = [subprocess.Popen([sys.executable, __file__, strategy]) for strategy in OPTIMIZERS]
    for program in programs:
        if program.wait() != 0:
            raise SystemExit("a search failed")
    with SQLiteStorage(STORE) as storage:
        compare(storage)


if __name__ == "__main__":
    if sys.argv[1:]:
        search(sys.argv[1])
    else:
        main()
