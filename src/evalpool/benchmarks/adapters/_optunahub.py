"""Problems of OptunaHub, which the package downloads, or loads from a folder.

They take no time, so give them a `RuntimeModel`.
"""

from __future__ import annotations

from typing import Any

from evalpool._text import described
from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._suites import Suite, import_package
from evalpool.benchmarks.adapters._remade import Remade
from evalpool.benchmarks.adapters._spaces import space_of_distributions
from evalpool.errors import BadArgument
from evalpool.worker._running_job import RunningJob

__all__ = ["OptunaHubSuite"]


def _problem(package: str, registry_root: str | None, name: str, options: dict[str, Any]) -> Any:
    hub = import_package("optunahub", "optunahub")
    try:
        if registry_root is None:
            module = hub.load_module(package)
        else:
            module = hub.load_local_module(package, registry_root=registry_root)
    except Exception as error:  # of the server, of git, of the package itself
        raise BadArgument(
            f"The package {package!r} of OptunaHub cannot be loaded: {described(error)}. Without a connection, give "
            "registry_root, a folder that has it."
        ) from error
    return getattr(module, name)(**options)


class _Evaluation:
    """The run-function."""

    def __init__(self, problem: Remade, objectives: list[str]) -> None:
        self._problem, self._objectives = problem, objectives

    def __call__(self, job: RunningJob) -> dict[str, Any]:
        problem, parameters = self._problem.made, dict(job.parameters)
        values = problem.evaluate(parameters)
        values = [values] if isinstance(values, (int, float)) else values
        told: dict[str, Any] = {name: float(value) for name, value in zip(self._objectives, values, strict=True)}
        if constraints := problem.evaluate_constraints(parameters):
            told["constraints"] = constraints
        return told


class OptunaHubSuite(Suite):
    """``load("optunahub:benchmarks/bbob?function_id=1&dimension=5")``: a package of OptunaHub's registry."""

    def problems(self) -> list[str]:
        """Return nothing: only the server knows the packages."""
        return []

    def has(self, problem: str) -> bool:
        return True

    def load(
        self, problem: str, registry_root: str | None = None, problem_class: str = "Problem", **options: Any
    ) -> Benchmark:
        """Return a problem; what it says of its constraints is in the output of jobs.

        Args:
            problem: the package's name.
            registry_root: a folder that has it; None to download it.
            problem_class: the class in the package.
            options: of that class.
        """
        made = Remade(_problem, problem, registry_root, problem_class, options)
        maximize = [direction.name == "MAXIMIZE" for direction in made.made.directions]
        objectives = ["value"] if len(maximize) == 1 else [f"value_{place}" for place in range(len(maximize))]
        return Benchmark(
            f"optunahub:{problem}", space_of_distributions(made.made.search_space), _Evaluation(made, objectives),
            objectives=objectives, maximize=maximize, metadata={"suite": "OptunaHub"},
        )  # fmt: skip
