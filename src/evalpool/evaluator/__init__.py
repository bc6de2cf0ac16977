"""The life cycle of jobs: submit, gather, cancel, close, and everything that is the same on every backend."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.evaluator._deadline import Deadline as Deadline
    from evalpool.evaluator._deadline import stops_on_sigterm as stops_on_sigterm
    from evalpool.evaluator._devices import visible_devices as visible_devices
    from evalpool.evaluator._distributed import distributed as distributed
    from evalpool.evaluator._evaluator import Evaluator as Evaluator
    from evalpool.evaluator._job import Job as Job
    from evalpool.evaluator._minimizers import NevergradOptimizer as NevergradOptimizer
    from evalpool.evaluator._minimizers import SkoptOptimizer as SkoptOptimizer
    from evalpool.evaluator._optimize import optimize as optimize
    from evalpool.evaluator._optuna import OptunaOptimizer as OptunaOptimizer
    from evalpool.evaluator._parcel import pack as pack
    from evalpool.evaluator._profile import profile as profile
    from evalpool.evaluator._queued import queued as queued
    from evalpool.evaluator._random_search import RandomSearch as RandomSearch
    from evalpool.evaluator._registry import EVALUATORS as EVALUATORS
    from evalpool.evaluator._running_job import RunningJob as RunningJob
    from evalpool.evaluator._stoppers import MedianStopper as MedianStopper
    from evalpool.evaluator._stoppers import Stopper as Stopper
    from evalpool.evaluator._stoppers import SuccessiveHalvingStopper as SuccessiveHalvingStopper

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "EVALUATORS": "_registry",
        "Deadline": "_deadline",
        "Evaluator": "_evaluator",
        "Job": "_job",
        "MedianStopper": "_stoppers",
        "NevergradOptimizer": "_minimizers",
        "OptunaOptimizer": "_optuna",
        "RandomSearch": "_random_search",
        "RunningJob": "_running_job",
        "SkoptOptimizer": "_minimizers",
        "Stopper": "_stoppers",
        "SuccessiveHalvingStopper": "_stoppers",
        "distributed": "_distributed",
        "optimize": "_optimize",
        "pack": "_parcel",
        "profile": "_profile",
        "queued": "_queued",
        "stops_on_sigterm": "_deadline",
        "visible_devices": "_devices",
    },
)
