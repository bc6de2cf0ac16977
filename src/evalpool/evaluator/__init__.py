"""The life cycle of jobs: submit, gather, cancel, close, and everything that is the same on every backend."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator as Evaluator
    from evalpool.evaluator._job import Job as Job
    from evalpool.evaluator._optimize import OptunaOptimizer as OptunaOptimizer
    from evalpool.evaluator._optimize import RandomSearch as RandomSearch
    from evalpool.evaluator._optimize import optimize as optimize
    from evalpool.evaluator._queued import queued as queued
    from evalpool.evaluator._registry import EVALUATORS as EVALUATORS
    from evalpool.evaluator._running_job import RunningJob as RunningJob

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "EVALUATORS": "_registry",
        "Evaluator": "_evaluator",
        "Job": "_job",
        "OptunaOptimizer": "_optimize",
        "RandomSearch": "_optimize",
        "RunningJob": "_running_job",
        "optimize": "_optimize",
        "queued": "_queued",
    },
)
