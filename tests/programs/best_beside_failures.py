"""One of the jobs fails; the best of the others is asked for as ever, and a job shows its objective or its reason.

Prints:

    best: [{'x': 1}, {'x': 2}]
    objectives: [1.0, 0.5]
    the failure says: True
"""

from evalpool import Evaluator, best


def invert(job):
    return 1 / job["x"]


if __name__ == "__main__":
    with Evaluator.create(invert, method="process", method_kwargs={"num_workers": 2}) as evaluator:
        evaluator.submit([{"x": x} for x in range(4)])
        jobs = evaluator.gather("ALL")
        first, second = evaluator.best(2)
    print("best:", [first.args, second.args])
    print("objectives:", [job.objective for job in best(jobs, 2)])
    print("the failure says:", "division by zero" in repr(min(jobs, key=lambda job: job.number)))
