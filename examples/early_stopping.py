"""End unpromising trainings early: a stopper that saves most of the epochs.

A linear classifier is trained on the digits by stochastic gradient descent, up to 27 epochs for each of 20
configurations. After each epoch the run-function records its accuracy and asks whether to stop. Asynchronous
successive halving lets the best third continue at 1, 3 and 9 epochs.

    python examples/early_stopping.py
"""

from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

from evalpool import Evaluator, RandomSearch, RunningJob, optimize
from evalpool.evaluator import SuccessiveHalvingStopper

EPOCHS = 27
CONFIGURATIONS = 20
SPACE = {
    "alpha": (1e-7, 1e2, "log"),  # how strongly large weights are punished
    "eta0": (1e-7, 1e1, "log"),  # the step size
    "penalty": ["l2", "l1", "elasticnet"],
    "average": [True, False],
}


def train(job: RunningJob, data: list[np.ndarray]) -> dict[str, Any]:
    """The run-function."""
    images, test_images, digits, test_digits = data
    model = SGDClassifier(
        alpha=job["alpha"],
        eta0=job["eta0"],
        penalty=job["penalty"],
        average=job["average"],
        learning_rate="constant",
        random_state=job.seed,
    )
    order = np.random.default_rng(job.seed)
    for epoch in range(1, EPOCHS + 1):
        shuffled = order.permutation(len(digits))
        model.partial_fit(images[shuffled], digits[shuffled], classes=np.arange(10))
        job.record(epoch, model.score(test_images, test_digits))
        if job.stopped():
            break
    return {"objective": job.objective, "metadata": {"epochs": epoch}}


def search(stopper: SuccessiveHalvingStopper | None, data: list[np.ndarray]) -> tuple[float, int]:
    """The best accuracy, and the number of epochs trained."""
    settings = {"num_workers": 2, "run_function_kwargs": {"data": data}, "stopper": stopper, "seed": 0}
    with Evaluator.create(train, method="process", method_kwargs=settings) as evaluator:
        jobs = optimize(evaluator, RandomSearch(SPACE, seed=0), max_evals=CONFIGURATIONS)
    return max(job.objective for job in jobs), sum(job.metadata["epochs"] for job in jobs)


def main() -> None:
    images, digits = load_digits(return_X_y=True)
    data = train_test_split(images / 16, digits, random_state=0)
    best, epochs = search(None, data)
    print(f"without a stopper: accuracy {best:.4f} after {epochs} epochs")
    stopped_best, stopped_epochs = search(SuccessiveHalvingStopper(max_steps=EPOCHS), data)
    print(f"with halving:      accuracy {stopped_best:.4f} after {stopped_epochs} epochs")
    print(f"saved {1 - stopped_epochs / epochs:.0%} of the epochs, {best - stopped_best:.4f} of accuracy lost")


if __name__ == "__main__":
    main()
