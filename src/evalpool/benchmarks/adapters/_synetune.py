"""Blackboxes of Syne Tune's repository, whose data the package downloads.

Its times are those that elapsed since the start of a training.
"""

from __future__ import annotations

from typing import Any

from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._fidelity import Fidelity
from evalpool.benchmarks._suites import Suite, import_package
from evalpool.errors import BadArgument
from evalpool.worker._running_job import RunningJob

__all__ = ["SyneTuneSuite", "of_blackbox"]


class _Query:
    """The run-function: one evaluation of a blackbox, with the repetition that the job's seed chooses."""

    def __init__(self, blackbox: Any, fidelity: str | None) -> None:
        self._blackbox, self._fidelity = blackbox, fidelity
        self._repetitions: int | None = getattr(blackbox, "num_seeds", None)

    def __call__(self, job: RunningJob) -> dict[str, float]:
        configuration = dict(job.parameters)
        at = None if self._fidelity is None else {self._fidelity: configuration.pop(self._fidelity)}
        seed = None if self._repetitions is None else job.seed % self._repetitions
        return {name: float(value) for name, value in self._blackbox(configuration, at, seed=seed).items()}


def of_blackbox(
    name: str, blackbox: Any, objective: str, elapsed: str = "metric_elapsed_time", maximize: bool = False
) -> Benchmark:
    """Return a blackbox as a benchmark.

    Args:
        name: of the benchmark.
        blackbox: a `syne_tune.blackbox_repository.blackbox.Blackbox`, with one fidelity or none.
        objective: the name of its objective.
        elapsed: the name of the seconds since the start; without such an objective there are no runtimes.
        maximize: whether larger values are better.

    Raises:
        BadArgument: it has no such objective, or several fidelities.
    """
    names = list(blackbox.objectives_names)
    if objective not in names:
        raise BadArgument(f"{name} has no objective {objective!r}; it has {', '.join(names)}.")
    levels = list(blackbox.fidelity_space or ())
    if len(levels) > 1:
        raise BadArgument(f"{name} has the fidelities {', '.join(levels)}; only one is supported.")
    fidelity = None
    if levels:
        values = [value.item() if hasattr(value, "item") else value for value in blackbox.fidelity_values]
        fidelity = Fidelity(levels[0], min(values), max(values), levels=tuple(values))
    space = {key: _dimension(value) for key, value in blackbox.configuration_space.items()}
    return Benchmark(
        name, space, _Query(blackbox, None if fidelity is None else fidelity.name),
        runtime=elapsed if elapsed in names else None, objectives=objective, maximize=maximize, fidelity=fidelity,
        metadata={"suite": "Syne Tune"},
    )  # fmt: skip


def _dimension(value: Any) -> Any:
    """A dimension of a space of Syne Tune; what is no domain is a constant."""
    for choices in ("categories", "values"):
        if isinstance(getattr(value, choices, None), (list, tuple)):
            return list(getattr(value, choices))
    if not hasattr(value, "value_type"):
        return [value]
    kind = value.value_type
    bounds = (kind(value.lower), kind(value.upper))
    return (*bounds, "log") if "Log" in type(value.get_sampler()).__name__ else bounds


class SyneTuneSuite(Suite):
    """``load("synetune:nasbench201/cifar10?objective=metric_valid_error")``."""

    def problems(self) -> list[str]:
        """Return the names of the blackboxes; behind a slash follows that of one's data set, if it has several."""
        return list(import_package("syne_tune.blackbox_repository", "syne-tune[extra]").blackbox_list())

    def has(self, problem: str) -> bool:
        return problem.partition("/")[0] in self.problems()

    def load(
        self, problem: str, objective: str, elapsed: str = "metric_elapsed_time", maximize: bool = False
    ) -> Benchmark:
        """Return a blackbox as a benchmark; see `of_blackbox`."""
        repository = import_package("syne_tune.blackbox_repository", "syne-tune[extra]")
        word, _, data = problem.partition("/")
        found = repository.load_blackbox(word)
        if isinstance(found, dict):
            if data not in found:
                raise BadArgument(
                    f"synetune:{word} has the data sets {', '.join(found)}: give 'synetune:{word}/<one>'."
                )
            found = found[data]
        return of_blackbox(f"synetune:{problem}", found, objective, elapsed, maximize)
