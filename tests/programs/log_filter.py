"""A log filter of the program reads a field that the run-function gives with `extra`: it is there, on every backend.

The handler stands at the logger that the run-function uses, and there is none at the root.

Prints:

    thread [1, 3] [0.0, 1.0, 2.0, 3.0]
    process [1, 3] [0.0, 1.0, 2.0, 3.0]
"""

import logging

from evalpool import Evaluator


class OddRuns(logging.Handler):
    """Keeps the records of odd runs."""

    def __init__(self):
        super().__init__()
        self.kept = []
        self.addFilter(lambda record: record.run % 2 == 1)

    def emit(self, record):
        self.kept.append(record.run)


def run(job):
    logging.getLogger("train").warning("an epoch is done", extra={"run": job["x"]})
    return float(job["x"])


if __name__ == "__main__":
    for method in ("thread", "process"):
        odd = OddRuns()
        logging.getLogger("train").addHandler(odd)
        with Evaluator.create(run, method, {"num_workers": 2}) as evaluator:
            evaluator.submit([{"x": x} for x in range(4)])
            jobs = evaluator.gather("ALL", timeout=40)
        logging.getLogger("train").removeHandler(odd)
        print(method, sorted(odd.kept), sorted(job.objective for job in jobs))
