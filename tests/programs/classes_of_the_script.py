"""Classes, enums and functions of the script are the same in a worker: as values, in pickles, and in a pool of its own.

Prints:

    thread: enum 1.0, saved True, loaded 2.5, pool 1.5
    process: enum 1.0, saved True, loaded 2.5, pool 1.5
"""

import enum
import multiprocessing
import pickle
from pathlib import Path

from evalpool import Evaluator


class Optimiser(enum.Enum):
    ADAM = "adam"


class Model:
    def __init__(self, weight):
        self.weight = weight


def half(x):
    return x / 2


def run(job):
    if job["what"] == "save":
        Path(job["path"]).write_bytes(pickle.dumps(Model(3.5)))
        return 0.0
    if job["what"] == "load":
        return pickle.loads(Path("model.pickle").read_bytes()).weight
    if job["what"] == "pool":
        with multiprocessing.get_context("fork").Pool(1) as pool:
            return sum(pool.map(half, [1, 2]))
    return 1.0 if job["what"] is Optimiser.ADAM else 0.0


if __name__ == "__main__":
    Path("model.pickle").write_bytes(pickle.dumps(Model(2.5)))
    for method in ("thread", "process"):
        with Evaluator.create(run, method=method) as evaluator:
            whats = (Optimiser.ADAM, "save", "load", "pool")
            evaluator.submit([{"what": what, "path": f"{method}.pickle"} for what in whats])
            jobs = sorted(evaluator.gather("ALL"), key=lambda job: job.number)
        by_enum, _, loaded, pool = (job.error or job.objective for job in jobs)
        saved = type(pickle.loads(Path(f"{method}.pickle").read_bytes())) is Model
        print(f"{method}: enum {by_enum}, saved {saved}, loaded {loaded}, pool {pool}")
