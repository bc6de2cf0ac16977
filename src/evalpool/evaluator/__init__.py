"""The life cycle of jobs: submit, gather, cancel, close, and everything that is the same on every backend."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.batch import Deadline as Deadline
    from evalpool.batch import stops_on_sigterm as stops_on_sigterm
    from evalpool.batch import visible_devices as visible_devices
    from evalpool.evaluator._distributed import distributed as distributed
    from evalpool.evaluator._evaluator import Evaluator as Evaluator
    from evalpool.evaluator._names_above import MedianStopper as MedianStopper
    from evalpool.evaluator._names_above import NevergradOptimizer as NevergradOptimizer
    from evalpool.evaluator._names_above import OptunaOptimizer as OptunaOptimizer
    from evalpool.evaluator._names_above import RandomSearch as RandomSearch
    from evalpool.evaluator._names_above import SkoptOptimizer as SkoptOptimizer
    from evalpool.evaluator._names_above import Stopper as Stopper
    from evalpool.evaluator._names_above import SuccessiveHalvingStopper as SuccessiveHalvingStopper
    from evalpool.evaluator._names_above import optimize as optimize
    from evalpool.evaluator._names_above import profile as profile
    from evalpool.evaluator._old_backends import pack as pack
    from evalpool.evaluator._queued import queued as queued
    from evalpool.evaluator._registry import EVALUATORS as EVALUATORS
    from evalpool.jobs import Job as Job
    from evalpool.worker import RunningJob as RunningJob

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "EVALUATORS": "_registry",
        "Deadline": "evalpool.batch",
        "Evaluator": "_evaluator",
        "Job": "evalpool.jobs",
        "RunningJob": "evalpool.worker",
        "distributed": "_distributed",
        "pack": "_old_backends",
        "queued": "_queued",
        "stops_on_sigterm": "evalpool.batch",
        "visible_devices": "evalpool.batch",
    },
)
