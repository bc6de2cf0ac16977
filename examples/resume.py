"""Kill a search, start it again, and see it continue where it was.

The search keeps its results in a file, `resume.db`. It is started as a program of its own, killed in the middle, as by
a failure of the machine, and then started a second time: finished jobs are restored, jobs that were running are
run again, and in the end there are as many evaluations as were asked for.

    python examples/resume.py
"""

import os
import signal
import subprocess
import sys
import time

from evalpool import Evaluator, RandomSearch, RunningJob, optimize
from evalpool.storage import SQLiteStorage

STORE = "resume.db"
EVALUATIONS = 30


def run(job: RunningJob) -> float:
    """The run-function: something that takes time."""
    time.sleep(0.1)
    x, y = float(job["x"]), float(job["y"])
    return -((x - 1) ** 2) - (y + 2) ** 2


def search() -> None:
    """Begin the search, or continue it: the program is the same for both."""
    with SQLiteStorage(STORE) as storage:
        settings = {"num_workers": 2, "storage": storage}
        if storage.load_all_search_ids():
            settings["search_id"] = "latest"
        with Evaluator.create(run, method="process", method_kwargs=settings) as evaluator:
            again = evaluator.resume()  # 0 for a new search
            jobs = optimize(evaluator, RandomSearch({"x": (-5.0, 5.0), "y": (-5.0, 5.0)}), EVALUATIONS)
        restored = sum(job.metadata.get("restored", False) for job in jobs)
        best = evaluator.best()[0]
    print(f"{restored} evaluations were restored, {again} run again, {len(jobs) - restored - again} are new")
    print(f"{len(jobs)} evaluations; the best is {best.objective:.3f} at {best.args}")


def finished() -> int:
    """How many finished evaluations the file holds; any program may read it while the search runs."""
    with SQLiteStorage(STORE) as storage:
        known = storage.load_all_search_ids()
        return sum(record.status.name == "DONE" for record in storage.results()) if known else 0


def main() -> None:
    if os.path.exists(STORE):
        raise SystemExit(f"{STORE} exists already; remove it first.")
    first = subprocess.Popen([sys.executable, __file__, "search"])
    while finished() < EVALUATIONS // 3:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    print(f"The search was killed after {finished()} evaluations.")
    search()


if __name__ == "__main__":
    if sys.argv[1:] == ["search"]:
        search()
    else:
        main()
