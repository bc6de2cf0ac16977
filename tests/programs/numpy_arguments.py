"""Integers and seconds of numpy are taken as Python's own are.

Prints:

    seed 85
    workers 2
    timeouts: 5 5.0
"""

import numpy as np

from evalpool import Evaluator


def run(job):
    return 1.0


def made(**arguments):
    with Evaluator.create(run, "thread", arguments) as evaluator:
        evaluator.submit([{}])
        assert evaluator.gather()[0].objective == 1.0
        return evaluator


print("seed", made(seed=np.random.default_rng(0).integers(100)).seed)
print("workers", made(num_workers=np.int64(2)).num_workers)
made(job_timeout=np.int64(5), retries=np.int32(1))
made(job_timeout=np.float64(5.0))
print("timeouts:", np.int64(5), np.float64(5.0))
