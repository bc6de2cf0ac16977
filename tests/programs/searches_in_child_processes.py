"""Searches in processes that `multiprocessing` starts, in each of its ways: their workers know the script.

Prints:

    fork [0.0, 2.0]
    spawn [0.0, 2.0]
    forkserver [0.0, 2.0]
"""

import multiprocessing

from evalpool import Evaluator


def double(job):
    return 2.0 * job["x"]


def search(name):
    with Evaluator.create(double, method="process") as evaluator:
        evaluator.submit([{"x": x} for x in range(2)])
        print(name, sorted(job.error or job.objective for job in evaluator.gather()), flush=True)


if __name__ == "__main__":
    for way in ("fork", "spawn", "forkserver"):
        process = multiprocessing.get_context(way).Process(target=search, args=(way,))
        process.start()
        process.join()
