"""deephyper's stoppers, as they are, as `stopper` of evalpool's own evaluators: how many steps each job makes."""

import inspect

from deephyper.stopper import ConstantStopper, MedianStopper, SuccessiveHalvingStopper

import evalpool


def run(job):
    for step in range(1, 11):
        job.record(step, float(job["x"] * step))
        if job.stopped():
            break
    job.metadata["steps"] = step
    return job.objective


if __name__ == "__main__":
    print(list(inspect.signature(MedianStopper).parameters))
    stoppers = {
        "constant": ConstantStopper(10, 4),
        "halving": SuccessiveHalvingStopper(10),
        "median": MedianStopper(10, 1, 2),
        "median of ten": MedianStopper(10),
    }
    for name, stopper in stoppers.items():
        for method in ("serial", "thread", "process"):
            jobs = []
            with evalpool.Evaluator.create(run, method, {"stopper": stopper}) as evaluator:
                for x in (5, 4, 3, 6, 2, 7):
                    evaluator.submit([{"x": x}])
                    jobs += evaluator.gather("ALL")
            print(
                f"{name}, {method}:", [job.metadata["steps"] for job in jobs], [job.stopped_early for job in jobs][:3]
            )
