"""A program puts a `Path` into `sys.path`, where only text belongs: its workers start all the same.

Prints:

    thread: [0.0, 2.0, 4.0]
    process: [0.0, 2.0, 4.0]
"""

import sys
from pathlib import Path

from evalpool import Evaluator

sys.path.insert(0, Path("model"))


def run(job):
    return 2.0 * job["x"]


if __name__ == "__main__":
    for method in ("thread", "process"):
        with Evaluator.create(run, method, {"num_workers": 2}) as evaluator:
            evaluator.submit([{"x": x} for x in range(3)])
            print(f"{method}:", sorted(job.objective for job in evaluator.gather("ALL", timeout=30)))
