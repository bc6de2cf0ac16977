"""The digits with Optuna: any of its samplers proposes, evalpool evaluates.

Two objectives this time: the accuracy of a decision forest, and its size (fewer nodes are better). The sampler learns
from each result as it arrives, while the other worker is still busy.

    python examples/digits_optuna.py            30 evaluations, about fifteen seconds
    python examples/digits_optuna.py --quick    6 evaluations

Needs: pip install "evalpool[optuna]" scikit-learn
"""

import argparse

import numpy as np
import optuna
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedKFold, cross_validate

from evalpool import Evaluator, OptunaOptimizer, RunningJob, optimize
from evalpool.callbacks import TqdmCallback

SPACE = {
    "trees": (2, 40, "log"),
    "depth": (2, 16),
    "criterion": ["gini", "entropy"],
    "share": (0.05, 1.0),  # of the pixels that each split may look at
}


def accuracy_and_size(job: RunningJob, images: np.ndarray, digits: np.ndarray) -> tuple[float, float]:
    """Both are maximised, so the size is negative."""
    forest = ExtraTreesClassifier(
        job["trees"],
        max_depth=job["depth"],
        criterion=job["criterion"],
        max_features=job["share"],
        random_state=job.seed,  # the same for this job wherever it runs
    )
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    scores = cross_validate(forest, images, digits, cv=folds, return_estimator=True)
    nodes = sum(tree.tree_.node_count for tree in scores["estimator"][0].estimators_)
    return scores["test_score"].mean(), -nodes


def main(max_evals: int) -> None:
    images, digits = load_digits(return_X_y=True)
    study = optuna.create_study(directions=["maximize"] * 2, sampler=optuna.samplers.TPESampler(seed=0))
    settings = {
        "num_workers": 2,
        "run_function_kwargs": {"images": images, "digits": digits},
        "callbacks": [TqdmCallback("digits")],
        "seed": 0,
    }
    with Evaluator.create(accuracy_and_size, method="process", method_kwargs=settings) as evaluator:
        optimize(evaluator, OptunaOptimizer(study, SPACE), max_evals=max_evals)

    print(f"{len(study.trials)} trials; on the front, where no other is better in both:")
    for trial in sorted(study.best_trials, key=lambda trial: trial.values):
        print(f"    accuracy {trial.values[0]:.4f}, {-trial.values[1]:6.0f} nodes: {trial.params}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="6 evaluations instead of 30")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main(6 if parser.parse_args().quick else 30)
