"""A search in simulated time has as many workers as it says, also where its store is looked at.

Prints:

    workers       40 finished jobs
"""

import subprocess

from evalpool import RandomSearch, SerialEvaluator, optimize, simulated


def run(job):
    return {"objective": job["x"], "runtime": 60 + job["x"]}


with simulated(SerialEvaluator)(run, num_workers=40, storage="sqlite:///store.db", seed=0) as evaluator:
    optimize(evaluator, RandomSearch({"x": (0.0, 1.0)}, seed=0), max_evals=120)
status = subprocess.run(["evalpool", "status", "store.db"], capture_output=True, text=True, timeout=50).stdout
for line in status.splitlines():
    if line.split()[:1] == ["workers"]:
        print("workers      ", line.split(maxsplit=1)[1])
