"""Which rows of a table are one training: a repetition of a configuration, at each level of the fidelity.

A job's seed chooses the k-th row of its configuration at each level, and a job that continues another one has its seed.
So the k-th rows of all levels must be one training: for its learning curve, and for the time to continue it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from evalpool.benchmarks._columns import Columns
from evalpool.errors import BadArgument
from evalpool.worker._running_job import RunningJob

__all__ = ["Rows", "TableCurve", "check_curves", "check_levels", "order_by_repetition", "shown"]

Rows = dict[tuple[Any, ...], "int | list[int]"]
"""Values of the parameters, and of the fidelity at last -> the number of the row, or the numbers of several."""


def shown(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """A configuration for a message, without the parameters that are not active."""
    return {name: value for name, value in zip(names, values, strict=False) if value is not None}


def order_by_repetition(rows: Rows, columns: Columns, repetition: Sequence[str]) -> None:
    """Sort the rows of each evaluation by the columns that name their repetition.

    Raises:
        BadArgument: a cell of these columns is empty, or two rows of one evaluation are the same repetition.
    """
    columns.make_keys(repetition, "the repetition")
    for name in repetition:
        if None in columns.values[name]:
            row = columns.rows[columns.values[name].index(None)]
            raise BadArgument(f"{row}: the repetition {name!r} is empty; name it in each row.")
    cells = _repetitions(columns, repetition)
    for found in rows.values():
        if isinstance(found, int):
            continue
        found.sort(key=lambda row: [(isinstance(cell, str), cell) for cell in cells[row]])
        for one, other in pairwise(found):
            if cells[one] == cells[other]:
                raise BadArgument(
                    f"{columns.rows[one]} and {columns.rows[other]} are both the repetition "
                    f"{shown(repetition, cells[one])!r} of one evaluation; leave one of them out, or name another "
                    "column, or several, as repetition=."
                )


def check_levels(rows: Rows, columns: Columns, names: Sequence[str], repetition: Sequence[str]) -> None:
    """Raise `BadArgument` unless each configuration has the same repetitions at all of its levels.

    Args:
        rows: in the order of their repetitions.
        names: of the parameters, and of the fidelity at last.
        repetition: the columns that name a row's repetition; none: only their numbers are compared.
    """
    cells, fidelity = _repetitions(columns, repetition) if repetition else [], names[-1]
    known: dict[tuple[Any, ...], tuple[Any, list[int]]] = {}
    for key, found in rows.items():
        here = _numbers(found)
        level, there = known.setdefault(key[:-1], (key[-1], here))
        if not repetition and len(here) != len(there):
            more, fewer = (here, there) if len(here) > len(there) else (there, here)
            at, least = (key[-1], level) if more is here else (level, key[-1])
            raise BadArgument(
                f"The configuration {shown(names, key[:-1])!r} has {len(more)} rows at {fidelity!r} {at!r} "
                f"({columns.rows[more[0]]} is the first) and {len(fewer)} at {least!r} ({columns.rows[fewer[0]]}), so "
                "which rows are one training is not known; give repetition=, the column that names the training of "
                "each row, or leave out rows until all levels have as many."
            )
        if repetition and (unlike := {cells[row]: row for row in here}.keys() ^ {cells[row] for row in there}):
            row = next(row for row in (*here, *there) if cells[row] in unlike)
            at, lacks = (key[-1], level) if row in here else (level, key[-1])
            raise BadArgument(
                f"{columns.rows[row]} is the repetition {shown(repetition, cells[row])!r} of the configuration "
                f"{shown(names, key[:-1])!r} at {fidelity!r} {at!r}, and has no row at {lacks!r}, which others "
                "have; leave out the rows of what was not trained as far as the others."
            )


def check_curves(
    rows: Rows, columns: Columns, names: Sequence[str], objectives: Sequence[str], runtime: str | None, *, whole: bool
) -> None:
    """Raise `BadArgument` for a configuration whose rows are no learning curve: one has a gap, or goes back in time.

    Args:
        rows, names: as for `check_levels`, which they passed.
        runtime: the column of the runtimes, if there is one.
        whole: whether each curve must go up to the highest level.
    """
    fidelity, levels = names[-1], sorted(set(columns.values[names[-1]]))
    configurations: dict[tuple[Any, ...], dict[Any, list[int]]] = {}
    for key, found in rows.items():
        configurations.setdefault(key[:-1], {})[key[-1]] = _numbers(found)
    for configuration, at in configurations.items():
        highest = max(at)
        for level in levels:
            if level not in at and (whole or level < highest):
                raise BadArgument(
                    f"The configuration {shown(names, configuration)!r} has {columns.rows[at[highest][0]]} at "
                    f"{fidelity!r} {highest!r} and no row at {level!r}, a gap in its learning curve; add the row, "
                    "leave the configuration out, or leave out curve=True."
                )
        if runtime is not None:
            for training in zip(*(at[level] for level in sorted(at)), strict=True):
                _check_order(columns, training, fidelity, objectives, runtime)


def _check_order(
    columns: Columns, training: Sequence[int], fidelity: str, objectives: Sequence[str], runtime: str
) -> None:
    """Raise `BadArgument` if a row took less time than the last point of the curve before it."""
    seconds, point, ended = columns.values[runtime], None, False
    for row in training:
        if point is not None and seconds[row] < seconds[point]:
            levels = columns.values[fidelity]
            raise BadArgument(
                f"{columns.rows[row]}: the runtime {runtime!r} is {seconds[row]!r} at {fidelity!r} {levels[row]!r}, "
                f"less than {seconds[point]!r} at {levels[point]!r} ({columns.rows[point]}); runtimes are totals from "
                "scratch, also at a higher fidelity. If these rows are different trainings, give repetition=."
            )
        ended = ended or any(isinstance(columns.values[name][row], str) for name in objectives)  # it failed
        if not ended:
            point = row


def _repetitions(columns: Columns, names: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(columns.values[name] for name in names), strict=True))


def _numbers(found: int | list[int]) -> list[int]:
    return [found] if isinstance(found, int) else found


class TableCurve:
    """The learning curve of a configuration: its rows at all fidelities, in their order."""

    def __init__(
        self,
        lookup: Callable[[RunningJob], dict[str, Any]],
        name: str,
        levels: list[float],
        objectives: Sequence[str],
        runtime: str | None,
    ) -> None:
        self._lookup, self._name, self._levels = lookup, name, levels
        self._objectives, self._runtime = objectives, runtime

    def __call__(self, job: RunningJob) -> Iterator[tuple[float, Any, float | None]]:
        most = job.parameters[self._name]
        for level in self._levels:
            if level > most:
                return
            at = RunningJob(parameters={**job.parameters, self._name: level}, seed=job.seed)
            row = self._lookup(at)
            values = tuple([row[name] for name in self._objectives])
            if any(isinstance(value, str) for value in values):
                return  # it failed here: the job itself will say so
            yield level, values[0] if len(values) == 1 else values, row[self._runtime] if self._runtime else None
