"""Simulated time: runs a search on a tabular benchmark as it would run in real time, without waiting."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.simulation._distribution import Distribution as Distribution
    from evalpool.simulation._interface import AbstractAskTellOptimizer as AbstractAskTellOptimizer
    from evalpool.simulation._interface import ObjectiveFuncType as ObjectiveFuncType
    from evalpool.simulation._result import SimulationResult as SimulationResult
    from evalpool.simulation._simulate import simulate as simulate
    from evalpool.simulation._simulated import SimulatedEvaluator as SimulatedEvaluator
    from evalpool.simulation._simulated import simulated as simulated
    from evalpool.simulation._worker_model import WorkerModel as WorkerModel
    from evalpool.simulation._wrapper import ObjectiveFuncWrapper as ObjectiveFuncWrapper
    from evalpool.simulation._wrappers import get_multiple_wrappers as get_multiple_wrappers

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AbstractAskTellOptimizer": "_interface",
        "Distribution": "_distribution",
        "ObjectiveFuncType": "_interface",
        "ObjectiveFuncWrapper": "_wrapper",
        "SimulatedEvaluator": "_simulated",
        "SimulationResult": "_result",
        "WorkerModel": "_worker_model",
        "get_multiple_wrappers": "_wrappers",
        "simulate": "_simulate",
        "simulated": "_simulated",
    },
)
