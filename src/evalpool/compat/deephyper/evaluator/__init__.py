"""`deephyper.evaluator` by the same names: change the import, and the program runs on evalpool."""

from evalpool import MaximumJobsSpawnReached, parse_subprocess_result
from evalpool.compat.deephyper.evaluator._engines import (
    LokyEvaluator,
    MPICommEvaluator,
    ProcessPoolEvaluator,
    RayEvaluator,
    SerialEvaluator,
    ThreadPoolEvaluator,
)
from evalpool.compat.deephyper.evaluator._evaluator import EVALUATORS, Evaluator
from evalpool.compat.deephyper.evaluator._job import HPOJob, Job
from evalpool.compat.deephyper.evaluator._profile import profile
from evalpool.compat.deephyper.evaluator._queued import queued
from evalpool.compat.deephyper.evaluator._running_job import RunningJob
from evalpool.compat.deephyper.evaluator._status import JobStatus
from evalpool.compat.deephyper.evaluator._to_json import to_json

__all__ = [
    "EVALUATORS",
    "Evaluator",
    "HPOJob",
    "Job",
    "JobStatus",
    "LokyEvaluator",
    "MPICommEvaluator",
    "MaximumJobsSpawnReached",
    "ProcessPoolEvaluator",
    "RayEvaluator",
    "RunningJob",
    "SerialEvaluator",
    "ThreadPoolEvaluator",
    "parse_subprocess_result",
    "profile",
    "queued",
    "to_json",
]
