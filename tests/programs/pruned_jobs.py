"""A job that a stopper ends early says so, and its record and its row; its objective is partial and never the best.

Prints:

    jobs: [False, False, True]
    records: [False, False, True]
    table: ['False', 'False', 'True']
    best: [0.9, 0.5]
"""

import csv

from evalpool import Evaluator
from evalpool.evaluator import MedianStopper


def train(job):
    for epoch in range(1, 11):
        job.record(epoch, job["rate"] * epoch / 10)
        if job.stopped():
            break
    return job.objective


with Evaluator.create(train, method_kwargs={"stopper": MedianStopper(max_steps=10)}) as evaluator:
    evaluator.submit([{"rate": rate} for rate in (0.5, 0.9, 0.1)])
    print("jobs:", [job.stopped_early for job in evaluator.gather()])
    print("records:", [record.stopped_early for record in evaluator.results()])
    with open(evaluator.to_csv("results.csv"), newline="") as file:
        print("table:", [row["m:stopped_early"] for row in csv.DictReader(file)])
    print("best:", [job.objective for job in evaluator.best(3)])
