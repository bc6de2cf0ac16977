"""Compare searches with many workers: each on a benchmark, with several seeds, in simulated time, as one page.

The benchmark is a table of real trainings, which comes with evalpool. Three searches look for the smallest error:

    random          each job as soon as a worker is idle
    in batches      the same, but each batch waits for its slowest job
    mutation        a search of our own: changes one parameter of the best five

    python examples/compare_searches.py            ten seeds, some seconds
    python examples/compare_searches.py --quick    three seeds

The comparison is kept in comparison.db: started again, it has nothing left to run. The page is comparison.html. Needs:
pip install "evalpool[pandas,plot]"
"""

import argparse
import random
from typing import Any

from evalpool import Job, RandomSearch
from evalpool.analysis import write_comparison_page
from evalpool.benchmarks import compare


class Mutation:
    """Proposes one of the five best configurations with another value of one parameter; at first, random ones."""

    def __init__(self, space: dict[str, list[Any]], seed: int) -> None:
        self.space = space
        self.fresh = RandomSearch(space, seed)
        self.rng = random.Random(seed)
        self.results: list[tuple[float, dict[str, Any]]] = []

    def ask(self) -> dict[str, Any]:
        if len(self.results) < 10:
            return self.fresh.ask()
        best = sorted(self.results, key=lambda result: -result[0])[:5]
        configuration = dict(self.rng.choice(best)[1])
        name = self.rng.choice(sorted(self.space))
        configuration[name] = self.rng.choice(self.space[name])
        return configuration

    def tell(self, job: Job[Any]) -> None:
        if job.kind is None:
            self.results.append((job.objective, dict(job.args)))


def in_batches(space: dict[str, Any], seed: int, num_workers: int) -> tuple[RandomSearch, dict[str, int]]:
    """Make random search in batches: `simulate` gets the second part, too."""
    return RandomSearch(space, seed), {"batch_size": num_workers}


def main(seeds: int) -> None:
    comparison = compare(
        {"random": "random", "in batches": in_batches, "mutation": Mutation},
        ["digits"],
        workers=[1, 8, 64],
        seeds=seeds,
        budget=128,
        evaluator="process",
        num_workers=2,
        storage="sqlite:///comparison.db",
    )
    print(comparison)
    for row in comparison.summary_rows():
        print(
            f"{row['workers']:2} workers, {row['search']:10}: rank {row['rank']:.1f} "
            f"({row['rank_low']:.1f} to {row['rank_high']:.1f}), workers busy {100 * row['utilisation']:.0f} %"
        )
    print(f"Page: {write_comparison_page(comparison, 'comparison.html', title='Searches on digits').name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three seeds")
    main(seeds=3 if parser.parse_args().quick else 10)
