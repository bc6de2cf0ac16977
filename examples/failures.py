"""Evaluations that fail do not affect the others.

One evaluation raises, one ends its whole process, one hangs, one returns a failure, one returns an invalid value. The
others return their results, and the table has a row for each.

    python examples/failures.py
"""

import csv
import os
import time

from evalpool import Evaluator, RunningJob
from evalpool.callbacks import CSVLoggerCallback


def run(job: RunningJob) -> object:
    """The run-function."""
    match job["behaviour"]:
        case "raises":
            raise ValueError("the learning rate is negative")
        case "crashes":
            os._exit(3)  # as a segmentation fault or the kernel's memory killer would
        case "hangs":
            time.sleep(3600)
        case "says so":
            return "F_diverged"
        case "returns nonsense":
            return float("nan")
    return 1.0


def main() -> None:
    behaviours = ["works", "raises", "crashes", "hangs", "says so", "returns nonsense", "works", "works"]
    settings = {"num_workers": 2, "job_timeout": 1.0, "callbacks": [CSVLoggerCallback("failures.csv")]}
    with Evaluator.create(run, method="process", method_kwargs=settings) as evaluator:
        evaluator.submit([{"behaviour": behaviour} for behaviour in behaviours])
        jobs = evaluator.gather("ALL")

    for job in sorted(jobs, key=lambda job: job.number):
        # `kind` says what went wrong, not the text of the objective; `error` has the details.
        story = (job.error or "").strip().splitlines()[-1:]
        kind = job.kind.value if job.kind else "-"
        print(f"{job.args['behaviour']:18} {job.status.name:7} {kind:15} {' '.join(story)[:100]}")

    print("\nIn failures.csv:")
    with open("failures.csv", newline="") as file:
        for row in sorted(csv.DictReader(file), key=lambda row: int(row["job_id"])):
            print(f"{row['p:behaviour']:18} {row['job_status']:7} {row['objective']}")


if __name__ == "__main__":
    main()
