"""evalpool runs expensive black-box functions for search algorithms.

A search proposes configurations; `Evaluator.submit` and `Evaluator.gather` evaluate them on this thread,
threads or supervised processes, and give the results back as they complete.

>>> from evalpool import Evaluator
>>> with Evaluator.create(lambda job: -job["x"] ** 2, method="serial") as evaluator:
...     jobs = evaluator.submit([{"x": 1}, {"x": 2}])
...     [job.objective for job in evaluator.gather("ALL")]
[-1, -4]
"""

from typing import TYPE_CHECKING

from evalpool._lazy import attach
from evalpool._version import __version__ as __version__

if TYPE_CHECKING:
    from evalpool._json import to_json as to_json
    from evalpool.backends import ExecutorEvaluator as ExecutorEvaluator
    from evalpool.backends import MPICommEvaluator as MPICommEvaluator
    from evalpool.backends import ProcessPoolEvaluator as ProcessPoolEvaluator
    from evalpool.backends import RayEvaluator as RayEvaluator
    from evalpool.backends import SerialEvaluator as SerialEvaluator
    from evalpool.backends import ThreadPoolEvaluator as ThreadPoolEvaluator
    from evalpool.errors import BackendError as BackendError
    from evalpool.errors import BadArgument as BadArgument
    from evalpool.errors import CorruptRecord as CorruptRecord
    from evalpool.errors import EvalpoolError as EvalpoolError
    from evalpool.errors import EvaluatorClosed as EvaluatorClosed
    from evalpool.errors import EvaluatorError as EvaluatorError
    from evalpool.errors import JobError as JobError
    from evalpool.errors import MaximumJobsSpawnReached as MaximumJobsSpawnReached
    from evalpool.errors import MemberLost as MemberLost
    from evalpool.errors import MissingExtra as MissingExtra
    from evalpool.errors import NewerSchema as NewerSchema
    from evalpool.errors import NotJSON as NotJSON
    from evalpool.errors import NotShareable as NotShareable
    from evalpool.errors import RunExists as RunExists
    from evalpool.errors import SimulationError as SimulationError
    from evalpool.errors import StorageError as StorageError
    from evalpool.errors import StorageUnavailable as StorageUnavailable
    from evalpool.errors import SubprocessError as SubprocessError
    from evalpool.errors import UnknownJob as UnknownJob
    from evalpool.errors import UnknownMethod as UnknownMethod
    from evalpool.errors import UnknownSearch as UnknownSearch
    from evalpool.errors import UnknownValue as UnknownValue
    from evalpool.errors import WorkerStartError as WorkerStartError
    from evalpool.errors import WrongKeys as WrongKeys
    from evalpool.evaluator import EVALUATORS as EVALUATORS
    from evalpool.evaluator import Deadline as Deadline
    from evalpool.evaluator import Evaluator as Evaluator
    from evalpool.evaluator import Job as Job
    from evalpool.evaluator import NevergradOptimizer as NevergradOptimizer
    from evalpool.evaluator import OptunaOptimizer as OptunaOptimizer
    from evalpool.evaluator import RandomSearch as RandomSearch
    from evalpool.evaluator import RunningJob as RunningJob
    from evalpool.evaluator import SkoptOptimizer as SkoptOptimizer
    from evalpool.evaluator import distributed as distributed
    from evalpool.evaluator import optimize as optimize
    from evalpool.evaluator import profile as profile
    from evalpool.evaluator import queued as queued
    from evalpool.evaluator import stops_on_sigterm as stops_on_sigterm
    from evalpool.evaluator import visible_devices as visible_devices
    from evalpool.evaluator._job import HPOJob as HPOJob
    from evalpool.evaluator._subprocess import parse_subprocess_result as parse_subprocess_result
    from evalpool.models import FailureKind as FailureKind
    from evalpool.models import JobRecord as JobRecord
    from evalpool.models import JobStatus as JobStatus
    from evalpool.models import Outcome as Outcome
    from evalpool.models import Retries as Retries
    from evalpool.simulation import simulate as simulate
    from evalpool.simulation import simulated as simulated

_ERRORS = (
    "BackendError", "BadArgument", "CorruptRecord", "EvalpoolError", "EvaluatorClosed", "EvaluatorError", "JobError",
    "MaximumJobsSpawnReached", "MemberLost", "MissingExtra", "NewerSchema", "NotJSON", "NotShareable", "RunExists",
    "SimulationError", "StorageError", "StorageUnavailable", "SubprocessError", "UnknownJob", "UnknownMethod",
    "UnknownSearch", "UnknownValue", "WorkerStartError", "WrongKeys",
)  # fmt: skip

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        **dict.fromkeys(_ERRORS, "errors"),
        "EVALUATORS": "evaluator",
        "Deadline": "evaluator",
        "Evaluator": "evaluator",
        "ExecutorEvaluator": "backends",
        "FailureKind": "outcomes",
        "HPOJob": "evaluator._job",
        "Job": "evaluator",
        "JobRecord": "models",
        "JobStatus": "outcomes",
        "MPICommEvaluator": "backends",
        "NevergradOptimizer": "evaluator",
        "OptunaOptimizer": "evaluator",
        "Outcome": "outcomes",
        "ProcessPoolEvaluator": "backends",
        "RandomSearch": "evaluator",
        "RayEvaluator": "backends",
        "Retries": "models",
        "RunningJob": "evaluator",
        "SerialEvaluator": "backends",
        "SkoptOptimizer": "evaluator",
        "ThreadPoolEvaluator": "backends",
        "distributed": "evaluator",
        "optimize": "evaluator",
        "parse_subprocess_result": "evaluator._subprocess",
        "profile": "evaluator",
        "queued": "evaluator",
        "stops_on_sigterm": "evaluator",
        "simulate": "simulation",
        "simulated": "simulation",
        "to_json": "_json",
        "visible_devices": "evaluator",
        **dict.fromkeys(
            (
                "analysis",
                "backends",
                "callbacks",
                "errors",
                "evaluator",
                "logging",
                "models",
                "simulation",
                "storage",
                "testing",
            ),
            "",
        ),
    },
)
__all__.remove("logging")  # a star import must not hide the standard library's
