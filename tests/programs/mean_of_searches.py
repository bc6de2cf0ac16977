"""The mean of several searches' best-so-far curves never falls, though one has its first result later than another.

Prints:

    values: True
    falls: False
"""

import numpy as np

from evalpool import RandomSearch, SerialEvaluator, optimize, simulated
from evalpool.analysis import performance_of_searches


def train(job):
    if job["rate"] > 0.4:
        raise FloatingPointError("the loss is not a number")
    return {"objective": -abs(job["rate"] - 0.1), "runtime": 30.0 * job["layers"]}


def search(seed):
    with simulated(SerialEvaluator)(train, num_workers=4, seed=seed) as evaluator:
        return optimize(evaluator, RandomSearch({"rate": (0.01, 1.0), "layers": (1, 9)}, seed=seed), max_evals=25)


mean = performance_of_searches([search(seed) for seed in range(4)], n_points=80).mean
mean = mean[~np.isnan(mean)]
print("values:", len(mean) > 40)
print("falls:", bool((np.diff(mean) < 0).any()))
