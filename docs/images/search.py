"""Draws the picture of the README: a search with eight workers, as it goes over time.

The trainings are those of the benchmark "digits", in simulated time, so the picture is the same on every
machine. A training that learnt nothing counts as a failure here.

    python docs/images/search.py
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from evalpool import RandomSearch, RunningJob, simulate
from evalpool.analysis import plot_objective_over_time, plot_worker_utilization

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "src" / "evalpool" / "benchmarks" / "adapters" / "digits.csv"
NAMES = ("units", "rate", "batch", "penalty")
EPOCHS = 27
LEARNT_NOTHING = 0.8


def main(picture: Path = HERE / "search.png") -> None:
    with TABLE.open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    table = {tuple(row[name] for name in NAMES): row for row in rows if row["epochs"] == EPOCHS}
    space = {name: sorted({key[place] for key in table}) for place, name in enumerate(NAMES)}

    def train(job: RunningJob) -> dict[str, Any]:
        row = table[tuple(job[name] for name in NAMES)]
        objective: Any = 1 - row["error"] if row["error"] < LEARNT_NOTHING else "F_learnt_nothing"
        return {"objective": objective, "metadata": {"runtime": row["seconds"]}}

    result = simulate(RandomSearch(space, seed=3), train, num_workers=8, max_submits=90)
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    plot_objective_over_time(result, ax=above).set(xlabel="", ylabel="accuracy")
    plot_worker_utilization(result, ax=below)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
