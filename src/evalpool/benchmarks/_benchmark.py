"""`Benchmark`: a problem for searches, in the one form that suites offer under many names.

A suite says ``train_time``, ``fid_cost``, ``train_cost``, ``elapsed_time``, ``virtual_time``; it minimises or
maximises; its fidelity is an argument or a key. A `Benchmark` knows which, and gives what evalpool expects of a
run-function: an objective that is maximised, and a runtime in virtual seconds.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from evalpool._checks import is_real
from evalpool.benchmarks._fidelity import Fidelity
from evalpool.benchmarks._runtime_model import RuntimeModel
from evalpool.benchmarks._units import check_named_unit, check_unit
from evalpool.errors import BadArgument
from evalpool.search._random_search import read_space
from evalpool.search._spaces import is_configuration_space
from evalpool.worker._running_job import RunningJob

__all__ = ["Benchmark", "CurvePoint"]


class CurvePoint(NamedTuple):
    """One point of a learning curve.

    Attributes:
        budget: how much was trained, in the unit of the fidelity: epochs.
        objective: after that budget, as the benchmark's own function gives it.
        seconds: virtual seconds from the beginning of the job to this point; None if they are not known.
    """

    budget: float
    objective: Any
    seconds: float | None = None


class Benchmark:
    """A run-function with its search space, its fidelity, and the runtimes of its evaluations.

    It is used where a run-function is, and where a space is:

    >>> from evalpool import RandomSearch, simulate
    >>> def train(job):
    ...     return {"loss": (job["x"] - 3) ** 2, "hours": 1 + job["x"]}
    >>> benchmark = Benchmark(
    ...     "parabola", {"x": (0, 9)}, train, objectives="loss", maximize=False, runtime="hours", runtime_unit="h"
    ... )
    >>> result = simulate(RandomSearch(benchmark, seed=0), benchmark, num_workers=4, max_evals=20)
    >>> max(result.objectives), result.makespan
    (0, 118800.0)
    >>> benchmark({"x": 5})
    {'loss': 4, 'hours': 6, 'objective': -4, 'runtime': 21600.0}

    Args:
        name: for tables and plots, as ``"hpobench:phoneme"``.
        space: as that of `RandomSearch`: a dict, or a `ConfigSpace.ConfigurationSpace`. Without the fidelity.
        run: a run-function, ``f(job)``: gets a mapping over the configuration, with the fidelity; returns a number, or
            a dict with the names in `objectives`. A text that begins with F is a failure.
        runtime: where the runtimes are: a key of what `run` returns; a `RuntimeModel`; a function of ``(job, what run
            returned)``; or None if there are none. Runtimes are those from scratch, also at a higher fidelity.
        objectives: the name of the objective in the dict, or several names.
        maximize: whether larger values are better; several truth values for several objectives. Objectives that are
            minimised are told as their negatives.
        fidelity: how much of the evaluation may be asked for; None if there is only the full one.
        curve: ``f(job)`` that gives the learning curve of a job as points ``(budget, objective, seconds)``, in the
            order of their budgets, with objectives as `run` gives them. Then each point up to the job's fidelity is
            recorded, and a job that a stopper ends returns the point at which it ended.
        metadata: facts for tables and reports; ``"best"`` and ``"worst"`` are the bounds of the objective as it is
            told, where they are known.
        runtime_unit: of the runtimes that `run` or a function gives: ``"ms"``, ``"s"``, ``"min"``, ``"h"``; None for
            seconds. They are converted to seconds.

    Raises:
        BadArgument: an argument has a wrong type or value; or the name of the runtimes ends with another unit than
            seconds, and `runtime_unit` is not given.
    """

    def __init__(
        self,
        name: str,
        space: Any,
        run: Callable[[RunningJob], Any],
        *,
        runtime: str | RuntimeModel | Callable[[RunningJob, Any], float] | None = None,
        objectives: str | Sequence[str] = "objective",
        maximize: bool | Sequence[bool] = True,
        fidelity: Fidelity | None = None,
        curve: Callable[[RunningJob], Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        runtime_unit: str | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise BadArgument(f"The name of a benchmark is {name!r}; give a text.")
        self.name = name
        self.space = _check_space(name, space, fidelity)
        self._run = _check_function(name, "run", run)
        self.objectives = _names(name, objectives)
        self.maximize = _directions(name, maximize, len(self.objectives))
        if fidelity is not None and not isinstance(fidelity, Fidelity):
            raise BadArgument(f"fidelity of {name!r} is {fidelity!r}; give Fidelity('epochs', 1, 27), or None.")
        self.fidelity = fidelity
        self._curve = None if curve is None else _check_function(name, "curve", curve)
        self.metadata = _facts(name, metadata)
        self._set_runtime(runtime, runtime_unit)

    def _set_runtime(self, runtime: Any, unit: str | None) -> None:
        self._runtime_key = self._runtime_of = None
        self.runtime_model: RuntimeModel | None = None
        self._seconds = 1.0
        if isinstance(runtime, RuntimeModel):
            if unit is not None:
                raise BadArgument(f"runtime of {self.name!r} is {runtime!r}, in seconds; leave runtime_unit out.")
            self.runtime_model = runtime
        elif isinstance(runtime, str) and runtime:
            self._runtime_key, self._seconds = runtime, check_named_unit(runtime, unit)
        elif callable(runtime):
            self._runtime_of, self._seconds = runtime, check_unit("s" if unit is None else unit)
        elif runtime is not None:
            raise BadArgument(
                f"runtime of {self.name!r} is {runtime!r}; give the key of the seconds in what run returns, a "
                "RuntimeModel, a function of (job, what run returned), or None."
            )
        self.has_runtimes = runtime is not None
        """Whether the benchmark can run in simulated time, which refuses one that has none."""

    def with_runtime(
        self, runtime: str | RuntimeModel | Callable[[RunningJob, Any], float] | None, unit: str | None = None
    ) -> Benchmark:
        """Return the same benchmark with other runtimes.

        Args:
            runtime: as for the constructor.
            unit: as `runtime_unit` of the constructor.

        Raises:
            BadArgument: an argument has a wrong type or value.
        """
        benchmark = copy.copy(self)
        benchmark._set_runtime(runtime, unit)
        return benchmark

    @classmethod
    def from_table(
        cls,
        table: Any,
        *,
        name: str | None = None,
        objectives: str | Sequence[str] = "objective",
        runtime: str | RuntimeModel | None = "runtime",
        runtime_unit: str | None = None,
        maximize: bool | Sequence[bool] = True,
        parameters: Sequence[str] | None = None,
        fidelity: str | Fidelity | None = None,
        lookup: str = "exact",
        space: dict[str, Any] | None = None,
        curve: bool = False,
        repetition: str | Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Benchmark:
        """Make a benchmark of a table with a row for each evaluation that was made.

        >>> table = [{"x": x, "loss": (x - 3) ** 2, "runtime": 60.0 * x} for x in range(10)]
        >>> benchmark = Benchmark.from_table(table, name="parabola", objectives="loss", maximize=False)
        >>> benchmark.space, benchmark({"x": 5})["objective"]
        ({'x': [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}, -4)

        Rows with the same parameters and fidelity are repetitions of one evaluation; a job's seed decides which it
        gets. The same seed gets the same repetition at each level of the fidelity: that of `repetition`, or else the
        k-th row of each level, in the order of the table. An objective may be a text that begins with F: a failure,
        which takes the row's runtime.

        Warns if combinations of the values of the parameters and the fidelity are missing, with exact look-up and
        without `space`.

        Args:
            table: a `pandas.DataFrame`, the path of a CSV file, or dicts. Named levels of the frame's index are
                columns; an index without a name is not, also in a file that `to_csv` wrote with it.
            name: of the benchmark; that of the file, or ``"table"``, if None.
            objectives: the column of the objective, or several.
            runtime: the column of the runtimes, each from scratch, also at a higher fidelity; if it has its default and
                there is no such column, there are none. Or a `RuntimeModel`.
            runtime_unit: of that column: ``"ms"``, ``"s"``, ``"min"``, ``"h"``; None for seconds.
            maximize: whether larger values are better; for several objectives, several.
            parameters: the columns of the parameters; None for all that are not named otherwise. An empty cell is a
                parameter that is not active: None in the space.
            fidelity: the column of the fidelity, or a `Fidelity` of that name.
            lookup: ``"exact"``: a configuration that is not in the table is an error, and the space is that of the
                values in the table. ``"nearest"``: the row whose parameters are nearest counts, each number as its
                share of the parameter's range, with 1 for each other value that differs; numbers in the space are
                ranges. At constant cost, where the table has all combinations.
            space: another space than that; a range with ``"log"`` makes the distances of that parameter logarithmic.
            curve: whether the rows of one configuration at lower fidelities are its learning curve; see `Benchmark`.
            repetition: the column whose value names the repetition of a row, such as the seed of its training, or
                several; no parameter. Needed where rows of several trainings alternate.
            metadata: as for the constructor; ``"best"`` and ``"worst"`` are taken from the table.

        Raises:
            BadArgument: a column is missing, a cell is not what it should be (the message names the row), the levels
                of a configuration have different repetitions, a learning curve has a gap or its runtimes decrease, or
                an argument has a wrong type or value.
        """
        from evalpool.benchmarks._table import table_arguments

        label = "table" if name is None else name
        goals, facts = _names(label, objectives), _facts(label, metadata)
        arguments = table_arguments(
            table,
            name,
            goals,
            runtime,
            runtime_unit,
            _directions(label, maximize, len(goals)),
            parameters,
            fidelity,
            lookup,
            space,
            curve,
            repetition,
        )
        arguments["metadata"] = {**arguments["metadata"], **facts}
        return cls(**arguments)

    def __call__(self, job: RunningJob | Mapping[str, Any]) -> dict[str, Any]:
        """Evaluate a job, or a configuration.

        Returns:
            what `run` returned, with ``"objective"``, larger is better, and ``"runtime"`` in virtual seconds, unless
            there are no runtimes.

        Raises:
            BadArgument: the fidelity is out of range, the configuration is outside a table, or `run` returned
                something without an objective or a runtime. In an evaluator the job fails with this error.
        """
        if type(job) is not RunningJob:
            job = _running(job)
        fidelity, value = self.fidelity, None
        if fidelity is not None:
            value = job.parameters.get(fidelity.name)
            job.parameters[fidelity.name] = value = fidelity.high if value is None else fidelity.check(value)
        if self._curve is not None and (stopped := self._follow(job, value)) is not None:
            return stopped
        result = self._run(job)
        told = dict(result) if isinstance(result, dict) else {self.objectives[0]: result}
        return self._told(job, value, told)

    @property
    def has_curve(self) -> bool:
        """Whether jobs record their learning curves, which stoppers need."""
        return self._curve is not None

    def curve(self, job: RunningJob | Mapping[str, Any]) -> list[CurvePoint]:
        """Return the learning curve of a configuration, up to its fidelity; empty for a benchmark without curves."""
        job = _running(job)
        if self.fidelity is not None:
            value = job.get(self.fidelity.name)
            job[self.fidelity.name] = self.fidelity.high if value is None else self.fidelity.check(value)
        return list(self._points(job, None if self.fidelity is None else job[self.fidelity.name]))

    def _points(self, job: RunningJob, most: float | None) -> Iterator[CurvePoint]:
        if self._curve is None:
            return
        curve, before = self._curve(job), -math.inf
        if not isinstance(curve, Iterable):
            raise self._no_curve(f"is {curve!r} of type {type(curve).__name__}")
        for number, point in enumerate(curve, 1):
            try:
                found = CurvePoint(*point)
            except TypeError:
                raise self._no_curve(f"has {point!r} as point {number}") from None
            if not is_real(found.budget) or not found.budget >= before:
                after = f", after {before!r}" if number > 1 else ""
                raise self._no_curve(f"has the budget {found.budget!r} at point {number}{after}")
            before = found.budget
            if most is not None and before > most:
                return
            yield found

    def _no_curve(self, what: str) -> BadArgument:
        return BadArgument(
            f"The learning curve of the benchmark {self.name!r} {what}; give points (budget, objective, seconds), in "
            "the order of their budgets."
        )

    def _follow(self, job: RunningJob, most: float | None) -> dict[str, Any] | None:
        """Record the points of a job's curve; return its result if it is stopped there, else None."""
        for budget, objective, seconds in self._points(job, most):
            values = objective if isinstance(objective, tuple) else (objective,)
            if len(values) != len(self.objectives):
                raise self._no_curve(f"has {objective!r} as the objective at {budget!r}, for {self.objectives!r}")
            told: dict[str, Any] = dict(zip(self.objectives, values, strict=True))
            if self.fidelity is not None:
                told[self.fidelity.name] = budget
            if self._runtime_key is not None:
                told[self._runtime_key] = seconds
            told = self._told(job, budget, told)
            job.record(budget, told["objective"], (told.get("metadata") or told).get("runtime"))
            if job.stopped():
                return told
        return None

    def _told(self, job: RunningJob, value: float | None, told: dict[str, Any]) -> dict[str, Any]:
        """Add the objective and the runtime to the dict `told`."""
        seconds = self._runtime(job, value, told) if self.has_runtimes else None
        try:
            values = [told[name] for name in self.objectives]
        except KeyError:
            raise self._lacks("the objective", [name for name in self.objectives if name not in told], told) from None
        failure = next((value for value in values if isinstance(value, str)), None)
        if failure is not None:
            told["objective"] = failure
            if seconds is not None:
                told["metadata"] = {**(told.get("metadata") or {}), "runtime": seconds}
            return told
        signed = [value if up else _negative(value) for value, up in zip(values, self.maximize, strict=True)]
        told["objective"] = signed[0] if len(signed) == 1 else tuple(signed)
        if seconds is not None:
            told["runtime"] = seconds
        return told

    def _runtime(self, job: RunningJob, value: float | None, told: dict[str, Any]) -> Any:
        model = self.runtime_model
        if model is not None:
            fidelity = self.fidelity
            if fidelity is None or value is None:
                return model.seconds(job.parameters)
            return model.seconds(job.parameters, fidelity.share(value), fidelity.name)
        if self._runtime_of is not None:
            runtime = self._runtime_of(job, told)
        elif self._runtime_key in told:
            runtime = told[self._runtime_key]
        else:
            raise self._lacks("the runtime", [self._runtime_key], told)
        try:
            return float(runtime) * self._seconds
        except (TypeError, ValueError):
            return runtime  # simulated time says what is wrong with it

    def _lacks(self, what: str, names: list[Any], told: dict[str, Any]) -> BadArgument:
        return BadArgument(
            f"run of the benchmark {self.name!r} returned {', '.join(map(repr, told)) or 'nothing'}, without {what} "
            f"{', '.join(map(repr, names))}."
        )

    def __repr__(self) -> str:
        runtimes = "" if self.has_runtimes else ", without runtimes"
        fidelity = "" if self.fidelity is None else f", {self.fidelity!r}"
        return f"<Benchmark {self.name!r} of {len(self.space)} parameters{fidelity}{runtimes}>"


def _running(job: Any) -> RunningJob:
    if isinstance(job, RunningJob):
        return job
    if not isinstance(job, Mapping):
        raise BadArgument(f"A benchmark evaluates a job or a configuration, not {job!r} of type {type(job).__name__}.")
    return RunningJob(parameters=dict(job))


def _negative(value: Any) -> Any:
    try:
        return -value
    except TypeError:
        return value  # the check of what a run-function returned says what is wrong with it


def _check_function(name: str, what: str, function: Any) -> Callable[..., Any]:
    if not callable(function):
        raise BadArgument(f"{what} of {name!r} is {function!r} of type {type(function).__name__}; give a function.")
    if inspect.iscoroutinefunction(function):
        raise BadArgument(f"{what} of {name!r} is {function!r}, a coroutine function; give one that returns at once.")
    checked: Callable[..., Any] = function
    return checked


def _check_space(name: str, space: Any, fidelity: Any) -> Any:
    if not is_configuration_space(space):
        read_space(space)
        space = dict(space)
    if isinstance(fidelity, Fidelity) and fidelity.name in space:
        raise BadArgument(
            f"The space of {name!r} has the fidelity {fidelity.name!r}; leave it out: a search that knows fidelities "
            "adds it to what it proposes."
        )
    return space


def _names(name: str, objectives: Any) -> tuple[str, ...]:
    names = (objectives,) if isinstance(objectives, str) else _items(objectives)
    if not names or not all(isinstance(one, str) and one for one in names) or len(set(names)) < len(names):
        raise BadArgument(f"objectives of {name!r} are {objectives!r}; give a name, or several different ones.")
    return names


def _directions(name: str, maximize: Any, count: int) -> tuple[bool, ...]:
    directions = (maximize,) * count if isinstance(maximize, bool) else _items(maximize)
    if len(directions) != count or not all(isinstance(one, bool) for one in directions):
        raise BadArgument(f"maximize of {name!r} is {maximize!r}; give True or False, or one for each of {count}.")
    return directions


def _items(given: Any) -> tuple[Any, ...]:
    """What was given, as a tuple; nothing, which no argument may be, of something else than several values."""
    return tuple(given) if isinstance(given, Iterable) else ()


def _facts(name: str, metadata: Any) -> dict[str, Any]:
    if metadata is not None and not isinstance(metadata, Mapping):
        raise BadArgument(f"metadata of {name!r} is {metadata!r}; give a dict of facts, as {{'best': 0.0}}, or None.")
    return dict(metadata or {})
