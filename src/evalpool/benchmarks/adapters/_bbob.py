"""The 24 functions of BBOB, of the package ioh. They take no time, so give them a `RuntimeModel`."""

from __future__ import annotations

from typing import Any

from evalpool._checks import check_number
from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._suites import Suite, import_package
from evalpool.worker._running_job import RunningJob

__all__ = ["BBOBSuite"]


class _Function:
    """The run-function. ioh's objects cannot be pickled, so a worker makes its own."""

    def __init__(self, problem: str, instance: int, dimension: int) -> None:
        self._arguments = (problem, instance, dimension)
        self._names = [f"x{place}" for place in range(dimension)]
        self.problem: Any = _problem(*self._arguments)

    def __call__(self, job: RunningJob) -> float:
        parameters = job.parameters
        return float(self.problem([parameters[name] for name in self._names]))

    def __reduce__(self) -> tuple[Any, ...]:
        return _Function, self._arguments


def _problem(problem: str, instance: int, dimension: int) -> Any:
    ioh = import_package("ioh", "ioh", "benchmarks")
    return ioh.get_problem(problem, instance=instance, dimension=dimension, problem_class=ioh.ProblemClass.BBOB)


class BBOBSuite(Suite):
    """``load("bbob:Sphere?dimension=5&instance=2", runtime=RuntimeModel.lognormal(60.0, 0.5))``."""

    def problems(self) -> list[str]:
        """Return the names of the 24 functions."""
        return list(import_package("ioh", "ioh", "benchmarks").ProblemClass.BBOB.problems.values())

    def load(self, problem: str, dimension: int = 5, instance: int = 1) -> Benchmark:
        """Return a function that is minimised, in [-5, 5] in each dimension, without runtimes.

        Args:
            problem: its name.
            dimension: 2 or more; the parameters are x0, x1, and so on.
            instance: 1 or more: another shift and rotation.
        """
        function = _Function(problem, check_number("instance", instance, 1), check_number("dimension", dimension, 2))
        bounds = function.problem.bounds
        space = {
            f"x{place}": (float(low), float(high))
            for place, (low, high) in enumerate(zip(bounds.lb, bounds.ub, strict=True))
        }
        return Benchmark(
            f"bbob:{problem}-{dimension}-{instance}", space, function, maximize=False,
            metadata={"suite": "ioh", "best": -float(function.problem.optimum.y)},
        )  # fmt: skip
