"""Makes the parts of a benchmark from a table: its space, its fidelity, its look-up, its curves.

A look-up by the exact values costs the same however long the table is: a dict from the values to the numbers of the
rows. Columns of numbers are kept as arrays, so that a table of a hundred thousand rows takes a few megabytes, also
in a message to a worker.
"""

from __future__ import annotations

import math
import os
import warnings
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from evalpool._checks import check_choice, is_whole
from evalpool.benchmarks._columns import Columns, read_columns
from evalpool.benchmarks._fidelity import Fidelity
from evalpool.benchmarks._nearest import Nearest
from evalpool.benchmarks._trainings import Rows, TableCurve, check_curves, check_levels, order_by_repetition, shown
from evalpool.benchmarks._units import check_named_unit
from evalpool.errors import BadArgument
from evalpool.search._random_search import read_space
from evalpool.worker._running_job import RunningJob

__all__ = ["TableLookup", "table_arguments"]


class TableLookup:
    """The function of a benchmark on a table: finds the row of a configuration.

    Args:
        columns: the table.
        names: the columns of the parameters, and that of the fidelity, if there is one.
        results: the columns that are returned.
        nearest: finds the nearest row; it is used for other values if `exact` is False, and in the error otherwise.
        exact: whether values that are not in the table are an error.
    """

    def __init__(
        self, columns: Columns, names: list[str], results: list[str], nearest: Nearest, *, exact: bool
    ) -> None:
        self._names = names
        self._rows: Rows = {}
        for number, key in enumerate(zip(*(columns.values[name] for name in names), strict=True)):
            known = self._rows.setdefault(key, number)
            if known is not number:
                self._rows[key] = [*known, number] if isinstance(known, list) else [known, number]
        self._results = {name: _packed(columns.values[name]) for name in results}
        self._nearest = nearest
        self._exact = exact
        self._source, self._labels = columns.source, columns.rows
        self._combinations = math.prod(len(set(columns.values[name])) for name in names)

    @property
    def rows(self) -> Rows:
        """The rows of each combination of values that is in the table."""
        return self._rows

    @property
    def lacks(self) -> str:
        """How many combinations of its values the table has, if it has not all; else an empty text."""
        if len(self._rows) == self._combinations:
            return ""
        return f"{len(self._rows)} of the {self._combinations} combinations of its values"

    def __call__(self, job: RunningJob) -> dict[str, Any]:
        """Return the results of the job's row; of several equal rows, that which its seed chooses."""
        parameters = job.parameters
        try:
            found = self._rows.get(tuple([parameters.get(name) for name in self._names]))
        except TypeError:
            raise BadArgument(f"The configuration {parameters!r} has a value that no cell of a table can be.") from None
        if found is None or len(parameters) != len(self._names):
            found = self._other(parameters, found)
        row = found if type(found) is int else found[job.seed % len(found)]  # type: ignore[arg-type, index]
        return {name: values[row] for name, values in self._results.items()}

    def _other(self, parameters: dict[str, Any], found: int | list[int] | None) -> int | list[int]:
        """The rows of a configuration that is not in the table, or has other names than the table."""
        unknown = [name for name in parameters if name not in self._names]
        if unknown:
            raise BadArgument(
                f"The configuration {parameters!r} has {', '.join(map(repr, unknown))}, and {self._source} has no such "
                f"parameter; it has {', '.join(map(repr, self._names))}."
            )
        if found is not None:
            return found
        if not self._exact:
            self._nearest.check(parameters)
        key = self._nearest.key(parameters, self._rows)
        nearest = self._rows[key]
        if not self._exact:
            return nearest
        missing = [name for name in self._names if name not in parameters]
        lacks = f" lacks {', '.join(map(repr, missing))} and" if missing else ""
        row = self._labels[nearest if isinstance(nearest, int) else nearest[0]]
        has, wanted = "", "values of benchmark.space"
        if self.lacks:
            has, wanted = f", which has {self.lacks}", "configurations of its rows"
        raise BadArgument(
            f"The configuration {parameters!r}{lacks} is not in {self._source}{has}; nearest is {row}, "
            f"{shown(self._names, key)!r}. Propose only {wanted}, or make the benchmark with lookup='nearest'."
        )

    def __len__(self) -> int:
        return len(self._labels)


def table_arguments(
    table: Any,
    name: str | None,
    objectives: Sequence[str],
    runtime: Any,
    runtime_unit: str | None,
    maximize: Sequence[bool],
    parameters: Sequence[str] | None,
    fidelity: str | Fidelity | None,
    lookup: str,
    space: dict[str, Any] | None,
    curve: bool,
    repetition: Any,
) -> dict[str, Any]:
    """Return the arguments of `Benchmark` for a table; see `Benchmark.from_table`, which has checked `objectives` and
    `maximize`.
    """
    check_choice("lookup", lookup, ("exact", "nearest"))
    columns = read_columns(table)
    if name is None:
        name = os.path.splitext(columns.source)[0] if isinstance(table, (str, os.PathLike)) else "table"
    goals = list(objectives)
    columns.check(goals, "an objective")
    for goal in goals:
        columns.check_numbers(goal, "the objective", -math.inf, failures=True)
    if runtime == "runtime" and "runtime" not in columns.values:
        runtime = None
    measured = runtime if isinstance(runtime, str) else None
    if measured is not None:
        columns.check([measured], "the runtimes")
        columns.check_numbers(measured, "the runtime", 0.0)
        check_named_unit(measured, runtime_unit)
    depth = _fidelity_of(columns, fidelity, exact=lookup == "exact")
    several = isinstance(repetition, Iterable) and not isinstance(repetition, str)
    repetitions = [] if repetition is None else list(repetition) if several else [repetition]
    columns.check(repetitions, "the repetition")
    taken = {*goals, *([measured] if measured else ()), *([depth.name] if depth else ()), *repetitions}
    names = _parameters_of(columns, parameters, taken)
    searched = _space_of(columns, names, ranges=lookup == "nearest") if space is None else space
    dimensions = read_space(searched)
    if unknown := [key for key in searched if key not in names]:
        raise BadArgument(f"space has {', '.join(map(repr, unknown))}; the parameters are {', '.join(names)}.")
    keys = [*names, depth.name] if depth else names
    nearest = Nearest(columns, keys, {name for name, one in dimensions.items() if getattr(one, "log", False)}, depth)
    found = TableLookup(columns, keys, [*goals, *([measured] if measured else ())], nearest, exact=lookup == "exact")
    if repetitions:
        order_by_repetition(found.rows, columns, repetitions)
    made = None
    if depth is not None:
        check_levels(found.rows, columns, keys, repetitions)
        if curve:
            check_curves(found.rows, columns, keys, goals, measured, whole=lookup == "nearest")
            made = TableCurve(found, depth.name, sorted(set(columns.values[depth.name])), goals, measured)
    elif curve:
        raise BadArgument("curve=True needs the fidelity: the column that says how far each row was trained.")
    if found.lacks and space is None and lookup == "exact":
        warnings.warn(
            f"{columns.source} has {found.lacks}, so a search that chooses each value by itself will propose "
            "configurations that fail; make the benchmark with lookup='nearest', give space= with values whose "
            "combinations are there, or add the rows.",
            stacklevel=3,
        )
    return {
        "name": name,
        "space": dict(searched),
        "run": found,
        "runtime": runtime,
        "runtime_unit": runtime_unit,
        "objectives": goals,
        "maximize": maximize,
        "fidelity": depth,
        "curve": made,
        "metadata": _bounds(columns, goals, depth, maximize),
    }


def _parameters_of(columns: Columns, parameters: Sequence[str] | None, taken: set[str]) -> list[str]:
    """The columns of the parameters, whose cells are checked."""
    parameters = [parameters] if isinstance(parameters, str) else parameters
    if parameters is not None and not isinstance(parameters, Iterable):
        raise BadArgument(f"parameters is {parameters!r}; give the names of columns, or None for all that are left.")
    names = [column for column in columns.values if column not in taken] if parameters is None else list(parameters)
    columns.check(names, "a parameter")
    if not names or taken.intersection(names):
        raise BadArgument(
            f"The parameters are {', '.join(map(repr, names)) or 'none'}; give columns that are not {sorted(taken)!r}."
        )
    columns.make_keys(names, "the parameter")
    return names


def _fidelity_of(columns: Columns, fidelity: str | Fidelity | None, *, exact: bool) -> Fidelity | None:
    """The fidelity of a table: with its levels, if others are errors."""
    if fidelity is None:
        return None
    if not isinstance(fidelity, (str, Fidelity)):
        raise BadArgument(f"fidelity is {fidelity!r}; give the name of its column, or a Fidelity of that name.")
    name = fidelity if isinstance(fidelity, str) else fidelity.name
    columns.check([name], "the fidelity")
    columns.check_numbers(name, "the fidelity", 0.0)
    levels = sorted(set(columns.values[name]))
    low, high, whole = levels[0], levels[-1], all(map(is_whole, levels))
    if isinstance(fidelity, Fidelity):
        if fidelity.high not in levels or not levels[0] <= fidelity.low:
            raise BadArgument(f"The fidelity is {fidelity!r}, and {columns.source} has {name!r} of {levels!r}.")
        low, high, whole = fidelity.low, fidelity.high, fidelity.integer
    return Fidelity(name, low, high, whole, tuple(one for one in levels if low <= one <= high) if exact else None)


def _space_of(columns: Columns, names: Sequence[str], *, ranges: bool) -> dict[str, Any]:
    """The space of the values in a table: choices; or ranges of the numbers."""
    space: dict[str, Any] = {}
    for name in names:
        values = list(dict.fromkeys(columns.values[name]))
        numeric = all(type(value) in (int, float) for value in values)
        if numeric:
            values.sort()
        if numeric and ranges and len(values) > 1:
            low, high = values[0], values[-1]
            whole = all(type(value) is int for value in values)
            space[name] = (low, high) if whole else (float(low), float(high))
        else:
            space[name] = values
    return space


def _bounds(columns: Columns, goals: list[str], depth: Fidelity | None, maximize: Sequence[bool]) -> dict[str, Any]:
    """The best and the worst objective of full evaluations, as they are told; nothing for several objectives."""
    if len(goals) > 1:
        return {}
    values = columns.values[goals[0]]
    if depth is not None:
        values = [value for value, at in zip(values, columns.values[depth.name], strict=True) if at == depth.high]
    numbers = [value for value in values if not isinstance(value, str)]
    if not numbers:
        return {}
    return (
        {"best": max(numbers), "worst": min(numbers)}
        if maximize[0]
        else {"best": -min(numbers), "worst": -max(numbers)}
    )


def _packed(values: list[Any]) -> Sequence[Any]:
    """The same values in less memory, if they are all floats."""
    return array("d", values) if all(type(value) is float for value in values) else values
