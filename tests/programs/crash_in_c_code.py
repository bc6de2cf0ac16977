"""A library crashes in C code: the job's error names the signal and the line of the run-function, in a few lines.

Packages with many extension modules are loaded, whose names must not push the stack out of what is kept.

Prints:

    the signal is told: True
    so is the line: True
    it fits on a screen: True
    the next job: 2.0
"""

import os
import signal

from evalpool import Evaluator


def solve(job):
    import sklearn.ensemble
    import sklearn.svm  # noqa: F401

    if job["x"] == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    return float(job["x"])


if __name__ == "__main__":
    with Evaluator.create(solve, method="process") as evaluator:
        evaluator.submit([{"x": 1}, {"x": 2}])
        crashed, fine = sorted(evaluator.gather("ALL"), key=lambda job: job.number)
    print("the signal is told:", "SIGSEGV" in crashed.error)
    print("so is the line:", "crash_in_c_code.py" in crashed.error and "in solve" in crashed.error)
    print("it fits on a screen:", len(crashed.error) < 2000)
    print("the next job:", fine.objective)
