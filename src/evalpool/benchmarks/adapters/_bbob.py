"""The 24 functions of BBOB, of the package ioh. They take no time, so give them a `RuntimeModel`."""

from __future__ import annotations

from typing import Any

from evalpool._checks import check_number, is_number
from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._suites import Suite, import_package
from evalpool.benchmarks.adapters._remade import Remade
from evalpool.benchmarks.adapters._spaces import check_names
from evalpool.errors import BadArgument
from evalpool.worker._running_job import RunningJob

__all__ = ["BBOBSuite"]


class _Function:
    """The run-function."""

    def __init__(self, function: Remade, names: list[str]) -> None:
        self._function, self._names = function, names

    def __call__(self, job: RunningJob) -> float:
        parameters = job.parameters
        check_names("the function", parameters, self._names)
        for name, value in parameters.items():
            if not is_number(value):
                raise BadArgument(f"{name!r} is {value!r} in the configuration {parameters!r}; give a finite number.")
        return float(self._function.made([parameters[name] for name in self._names]))


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
        instance, dimension = check_number("instance", instance, 1), check_number("dimension", dimension, 2)
        function = Remade(_problem, problem, instance, dimension)
        bounds = zip(function.made.bounds.lb, function.made.bounds.ub, strict=True)
        space = {f"x{place}": (float(low), float(high)) for place, (low, high) in enumerate(bounds)}
        return Benchmark(
            f"bbob:{problem}-{dimension}-{instance}", space, _Function(function, list(space)), maximize=False,
            metadata={"suite": "ioh", "best": -float(function.made.optimum.y)},
        )  # fmt: skip
