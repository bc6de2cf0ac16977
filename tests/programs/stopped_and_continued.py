"""A search that is stopped while its jobs finish, as by Ctrl-Z and fg, or by a batch system that suspends it.

The jobs last 0.2 s and may last 2; the search goes on when 2.5 s are over. They finished in time.

Prints:

    [0.0, 1.0]
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from evalpool import Evaluator

TIMEOUT = 2.0


def run(job):
    Path(f"begun-{job['x']}").touch()
    time.sleep(0.2)
    return float(job["x"])


if __name__ == "__main__":
    settings = {"num_workers": 2, "job_timeout": TIMEOUT}
    with Evaluator.create(run, method="process", method_kwargs=settings) as evaluator:
        jobs = evaluator.submit([{"x": 0}, {"x": 1}])
        while not all(Path(f"begun-{x}").exists() for x in range(2)):
            time.sleep(0.01)
        go_on = f"import os, time; time.sleep({TIMEOUT + 0.5}); os.kill({os.getpid()}, {int(signal.SIGCONT)})"
        subprocess.Popen([sys.executable, "-S", "-c", go_on])
        os.kill(os.getpid(), signal.SIGSTOP)
        evaluator.gather()
        print([job.objective for job in jobs])
