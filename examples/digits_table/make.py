"""Make the table of the benchmark "digits": train every configuration of a grid on the digits, and time it.

A neural network with one hidden layer is trained on 1 200 of scikit-learn's 1 797 images and tested on the rest, with
360 configurations, each at 1, 3, 9 and 27 epochs. A training takes seconds of one core, looking it up microseconds.

    python examples/digits_table/make.py [--every N] [--output PATH]        some ten minutes; a part with --every
"""

import argparse
import csv
import itertools
import os
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: seconds of one core

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

GRID: dict[str, list[Any]] = {
    "units": [4, 8, 16, 32, 64, 128],
    "rate": [0.0001, 0.0004, 0.0016, 0.0064, 0.0256, 0.1024],
    "batch": [8, 32, 128, 512, 1200],
    "penalty": [0.0001, 0.1],
}
RUNGS = (1, 3, 9, 27)
LEARN = 1200


def curve(configuration: dict[str, Any], images: np.ndarray, digits: np.ndarray) -> list[tuple[int, float, float]]:
    """Epochs, the share of wrongly classified images, and the seconds from scratch."""
    network = MLPClassifier(
        (configuration["units"],),
        learning_rate_init=configuration["rate"],
        batch_size=configuration["batch"],
        alpha=configuration["penalty"],
        random_state=0,
    )
    rows, seconds = [], 0.0
    for epoch in range(1, RUNGS[-1] + 1):
        began = time.process_time()  # not disturbed by what else the machine does
        network.partial_fit(images[:LEARN], digits[:LEARN], classes=np.arange(10))
        seconds += time.process_time() - began
        if epoch in RUNGS:
            error = 1.0 - network.score(images[LEARN:], digits[LEARN:])
            rows.append((epoch, round(error, 4), round(seconds, 4)))
    return rows


def main(every: int, output: Path) -> None:
    images, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, digits = images[order] / 16.0, digits[order]
    with output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*GRID, "epochs", "error", "seconds"])
        for values in itertools.islice(itertools.product(*GRID.values()), 0, None, every):
            configuration = dict(zip(GRID, values, strict=True))
            for row in curve(configuration, images, digits):
                writer.writerow([*values, *row])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="train only one of N configurations")
    parser.add_argument("--output", type=Path, default=Path("digits.csv"))
    arguments = parser.parse_args()
    main(arguments.every, arguments.output)
