"""A run-function in a module of its own: a worker process imports it, and with it names of deephyper's."""

from deephyper.evaluator import JobStatus, RunningJob


def run(job):
    return float(job.status is JobStatus.RUNNING and isinstance(job, RunningJob)) + job["x"]
