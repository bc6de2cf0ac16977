"""A search on a Ray cluster: workers on its nodes, results in a storage that all of them reach.

Without arguments it starts a small Ray on this machine. On a cluster, run it on any node and give the address of the
head; then each node gets as many workers as it has CPUs, and so do nodes that join later.

    python examples/ray_search.py
    python examples/ray_search.py --address auto
"""

import argparse
import os
import warnings
from typing import Any

from evalpool import Job, RandomSearch, RayEvaluator, RunningJob


def train(job: RunningJob, table: list[float]) -> dict[str, Any]:
    """The run-function; `table` was sent to the cluster once."""
    x, y = job["x"], job["y"]
    for epoch in range(1, 6):
        loss = (x - 0.3) ** 2 + (y + 0.2) ** 2 + table[epoch]
        job.record(epoch, -loss)
        if job.stopped():  # by a stopper, a cancel, a time limit
            break
    return {"objective": -loss, "metadata": {"epochs": epoch, "pid": os.getpid()}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", help="address of a running cluster; without it, one is started here")
    parser.add_argument("--jobs", type=int, default=40)
    options = parser.parse_args()
    here = {"include_dashboard": False, "object_store_memory": 200_000_000, "log_to_driver": False}
    warnings.filterwarnings("ignore", module="ray")

    search = RandomSearch({"x": (-1.0, 1.0), "y": (-1.0, 1.0)}, seed=1)
    with RayEvaluator(
        train,
        address=options.address,
        num_cpus=None if options.address else 2,
        ray_kwargs=None if options.address else here,
        run_function_kwargs={"table": [1 / (n + 1) for n in range(1000)]},
        job_timeout=60,
        retries={"worker_died": 1, "raised": 0},  # a job of a lost node is run again, one that raises is not
    ) as evaluator:
        print(f"{evaluator.num_workers} workers")
        best: Job[Any] | None = None
        evaluator.submit([search.ask() for _ in range(2 * evaluator.num_workers)])
        while evaluator.num_jobs_gathered < options.jobs:
            for job in evaluator.gather("BATCH", size=1):
                if job.error is None and (best is None or job.objective > best.objective):
                    best = job
                if evaluator.num_jobs_submitted < options.jobs:
                    evaluator.submit([search.ask()])
        print(f"{evaluator.num_jobs_gathered} jobs", end="; ")
        if best is not None and best.worker is not None:
            print(f"best {best.objective:.3f} at {best.args}, by {best.worker.name}")


if __name__ == "__main__":
    main()
