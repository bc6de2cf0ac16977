"""The nearest row of a table.

The distance between two configurations is the sum over the parameters of the squared difference, a number as its
share of the parameter's range; a value of another kind that differs counts 1. Each parameter adds its own part. So in a
table with all combinations the nearest row has the nearest value of each parameter, and they are found one by one. Only
if that combination is missing, all rows are looked at.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evalpool._checks import is_number, is_real
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.benchmarks._columns import Columns
    from evalpool.benchmarks._fidelity import Fidelity

__all__ = ["Nearest"]


class Nearest:
    """Finds the row of a table that is nearest to a configuration. Of equally near ones, that of the lowest values, or
    the first of the table, if not all combinations are there.

    Args:
        columns: the table.
        names: columns of the key: the parameters, and the fidelity.
        logarithmic: those whose distances are logarithmic.
        fidelity: only rows of its nearest level count.
    """

    def __init__(
        self, columns: Columns, names: list[str], logarithmic: set[str], fidelity: Fidelity | None = None
    ) -> None:
        self._values = [columns.values[name] for name in names]
        self._names = names
        self._fidelity = None if fidelity is None else names.index(fidelity.name)
        self._axes = [_Axis(values, name in logarithmic) for name, values in zip(names, self._values, strict=True)]

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise `BadArgument` if a parameter has no distance to the values of its column: a missing one, or NaN."""
        for name, axis in zip(self._names, self._axes, strict=True):
            value = parameters.get(name)
            if axis.has(value):
                continue
            what = f"is {value!r}" if name in parameters else "is missing"
            wanted = "a finite number" if axis.is_numeric else "a value of its column"
            raise BadArgument(
                f"In the configuration {dict(parameters)!r} {name!r} {what}; give {wanted}, to which a row can be near."
            )

    def key(self, parameters: Mapping[str, Any], known: Container[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return the values of the nearest row; `known` holds those of all rows."""
        wanted = [parameters.get(name) for name in self._names]
        snapped = tuple([axis.nearest(value) for axis, value in zip(self._axes, wanted, strict=True)])
        if snapped in known:
            return snapped
        # One addition per parameter and row, always in the same order: the same sums on every machine.
        total = np.zeros(len(self._values[0]))
        for place, (axis, value) in enumerate(zip(self._axes, wanted, strict=True)):
            total += axis.distances(value)
            if place == self._fidelity:
                total[axis.differ(snapped[place])] = math.inf
        row = int(np.argmin(total))
        return tuple([values[row] for values in self._values])


class _Axis:
    """One column: the distances of its values to another value."""

    def __init__(self, values: list[Any], logarithmic: bool) -> None:
        numbers = sorted({value for value in values if type(value) in (int, float)})
        self._scale: Callable[[float], float] = math.log if logarithmic and numbers and numbers[0] > 0 else float
        self._levels = numbers
        self._known = set(values)
        self.is_numeric = bool(numbers) and all(value is None or is_real(value) for value in self._known)
        places = [self._scale(number) for number in numbers]
        self._span = places[-1] - places[0] if len(places) > 1 else 1.0
        self._all = values
        self._places: Any = None  # of all rows, made when they are first needed

    def has(self, value: Any) -> bool:
        """Whether a value is in the column, or can be near to one."""
        if is_real(value):
            return is_number(value)
        return value in self._known if self.is_numeric or value is None else True

    def nearest(self, value: Any) -> Any:
        """The nearest value of the column, or the same value, if it is no number or the column has none."""
        if not self._levels or not is_real(value) or value in self._known:
            return value
        above = bisect.bisect_left(self._levels, value)
        around = self._levels[max(above - 1, 0) : above + 1]
        return min(around, key=lambda level: self._part(level, value))

    def _part(self, level: float, value: Any) -> float:
        try:
            difference = (self._scale(level) - self._scale(value)) / self._span
        except ValueError:  # the logarithm of 0 or less: it is below all levels
            return level
        return difference * difference

    def distances(self, value: Any) -> Any:
        """The part of each row's distance that this column adds: float array of as many as there are rows."""
        if not is_real(value) or not self._levels:
            return np.array([0.0 if one == value else 1.0 for one in self._all])
        if self._places is None:
            self._places = np.array([self._scale(one) if is_real(one) else math.nan for one in self._all])
        low = self._levels[0]
        parts = ((self._places - self._scale(value if self._scale is float or value > 0 else low)) / self._span) ** 2
        return np.where(np.isnan(parts), 1.0, parts)

    def differ(self, value: Any) -> Any:
        """Which rows have another value: bool array."""
        return np.array([one != value for one in self._all])
