"""What a run-function registers with `atexit` is done when the evaluator is closed, though it takes a while.

Trackers upload so what they have gathered.

Prints:

    uploaded: True
"""

import atexit
import time
from pathlib import Path

from evalpool import Evaluator


def upload():
    time.sleep(1.5)
    Path("uploaded").touch()


def run(job):
    atexit.register(upload)
    return 1.0


if __name__ == "__main__":
    with Evaluator.create(run, method="process") as evaluator:
        evaluator.submit([{}])
        evaluator.gather()
    print("uploaded:", Path("uploaded").exists())
