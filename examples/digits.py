"""Tune a classifier on handwritten digits with two worker processes: the demo.

The classifier is a support vector machine after a principal component analysis, with five hyperparameters of mixed
type. Its objective is the cross-validated accuracy on scikit-learn's 1 797 images of digits. Random search proposes,
two processes evaluate. Ctrl-C ends the search and keeps the results so far.

    python examples/digits.py            40 evaluations, about ten seconds
    python examples/digits.py --quick    6 evaluations

The table is written to demo-results/results.csv while the search runs, the plot to demo-results/plot.png.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from evalpool import Evaluator, RandomSearch, RunningJob, optimize
from evalpool.analysis import plot_objective_over_time, plot_worker_utilization
from evalpool.callbacks import CSVLoggerCallback, TqdmCallback

SPACE = {
    "components": (5, 60),  # whole numbers
    "kernel": ["rbf", "poly", "sigmoid"],  # one of these
    "C": (1e-2, 1e3, "log"),  # floats on a logarithmic scale
    "gamma": (1e-4, 1e-1, "log"),
    "degree": (2, 5),  # of the polynomial kernel
}


def accuracy(job: RunningJob, images: np.ndarray, digits: np.ndarray) -> float:
    """The run-function: evaluates one configuration, in a worker process."""
    classifier = make_pipeline(
        StandardScaler(),
        PCA(job["components"], random_state=0),
        SVC(kernel=job["kernel"], C=job["C"], gamma=job["gamma"], degree=job["degree"]),
    )
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    return float(cross_val_score(classifier, images, digits, cv=folds).mean())


def main(max_evals: int, results: Path) -> None:
    results.mkdir(exist_ok=True)
    table, plot = results / "results.csv", results / "plot.png"
    table.unlink(missing_ok=True)
    images, digits = load_digits(return_X_y=True)
    settings = {
        "num_workers": 2,
        "run_function_kwargs": {"images": images, "digits": digits},  # sent once to each worker
        "callbacks": [TqdmCallback("digits", disable=False), CSVLoggerCallback(table)],
        "job_timeout": 60,
    }
    with Evaluator.create(accuracy, method="process", method_kwargs=settings) as evaluator:
        try:
            optimize(evaluator, RandomSearch(SPACE, seed=0), max_evals=max_evals)
        except KeyboardInterrupt:
            print("\nInterrupted: the results so far are kept.")

    rows = finished(table)
    if not rows:
        print("No evaluation was finished.")
        return
    best = max(rows, key=lambda row: float(row["objective"]))
    print(f"Best of {len(rows)} evaluations: accuracy {float(best['objective']):.4f} with")
    for name in SPACE:
        print(f"    {name} = {best[f'p:{name}']}")

    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1)
    plot_objective_over_time(table, ax=above).set_ylabel("accuracy")
    plot_worker_utilization(table, ax=below)
    figure.savefig(plot, dpi=120)
    print(f"Table: {table}\nPlot:  {plot}")


def finished(table: Path) -> list[dict[str, str]]:
    """The rows of the evaluations that have an accuracy."""
    if not table.exists():
        return []
    with open(table, newline="") as file:
        # An evaluation that failed or was interrupted has a text that begins with F instead of an objective.
        return [row for row in csv.DictReader(file) if not row["objective"].startswith("F")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="6 evaluations instead of 40")
    main(6 if parser.parse_args().quick else 40, Path("demo-results"))
