"""The surrogates of YAHPO Gym, whose data the package reads from a folder of yours. Its runtimes are seconds."""

from __future__ import annotations

from typing import Any

from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._fidelity import Fidelity
from evalpool.benchmarks._suites import Suite, import_package
from evalpool.benchmarks.adapters._remade import Remade
from evalpool.benchmarks.adapters._spaces import space_of_configspace
from evalpool.errors import BadArgument
from evalpool.worker._running_job import RunningJob

__all__ = ["YAHPOSuite"]

MAXIMIZED = frozenset({"f1", "auc", "acc", "bac", "val_accuracy", "val_balanced_accuracy", "test_balanced_accuracy"})
"""Targets of which larger values are better. The package says the same of each, but that f1 of rbv2 is minimised."""


def _benchmark_set(scenario: str, instance: str | None) -> Any:
    # One thread each: the workers are ours.
    return import_package("yahpo_gym", "yahpo-gym").BenchmarkSet(scenario, instance, multithread=False)


class _Query:
    """The run-function: one prediction, with the other fidelities at their highest."""

    def __init__(self, benchmark: Remade, others: dict[str, Any]) -> None:
        self._benchmark, self._others = benchmark, others

    def __call__(self, job: RunningJob) -> dict[str, float]:
        configuration = {**self._others, **job.parameters}
        (result,) = self._benchmark.made.objective_function(configuration, seed=job.seed)
        return {name: float(value) for name, value in result.items()}


class YAHPOSuite(Suite):
    """``load("yahpo:lcbench/3945?objective=val_accuracy")``: a scenario and an instance."""

    def problems(self) -> list[str]:
        """Return the names of the scenarios; behind a slash follows an instance."""
        return list(import_package("yahpo_gym", "yahpo-gym").list_scenarios())

    def has(self, problem: str) -> bool:
        return problem.partition("/")[0] in self.problems()

    def load(
        self, problem: str, objective: str | None = None, fidelity: str | None = None, maximize: bool | None = None
    ) -> Benchmark:
        """Return a scenario on an instance.

        Args:
            problem: both names.
            objective: one of its targets; the first if None.
            fidelity: one of its fidelities; the first if None.
            maximize: whether larger values are better; None: as is usual for this target.
        """
        scenario, _, instance = problem.partition("/")
        made = Remade(_benchmark_set, scenario, instance or None)
        found = made.made
        targets, levels = list(found.config.y_names), dict(found.get_fidelity_space())
        objective = targets[0] if objective is None else objective
        name = next(iter(levels)) if fidelity is None else fidelity
        if objective not in targets or name not in levels:
            raise BadArgument(
                f"yahpo:{problem} has the targets {', '.join(targets)} and the fidelities {', '.join(levels)}; got "
                f"{objective!r} and {name!r}."
            )
        others = {other: level.upper for other, level in levels.items() if other != name}
        runtime = found.config.runtime_name
        return Benchmark(
            f"yahpo:{problem}", space_of_configspace(found.get_opt_space(drop_fidelity_params=True)),
            _Query(made, others),
            runtime=runtime or None, objectives=objective,
            maximize=objective in MAXIMIZED if maximize is None else maximize,
            fidelity=Fidelity(name, levels[name].lower, levels[name].upper),
            metadata={"suite": "YAHPO Gym"},
        )  # fmt: skip
