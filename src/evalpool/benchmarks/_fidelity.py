"""How much of the full evaluation a benchmark may be asked for: epochs, samples, a share of the data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evalpool._checks import check_real, decimal_float, is_real, is_whole
from evalpool.errors import BadArgument
from evalpool.search._rungs import place_of

__all__ = ["Fidelity"]


class Fidelity:
    """A fidelity of a benchmark: a key of its configurations, with a range. The highest is the full evaluation.

    >>> epochs = Fidelity("epochs", 1, 27, levels=(1, 3, 9, 27))
    >>> epochs.check(9), epochs.share(9)
    (9, 0.3333333333333333)

    Args:
        name: the key in a configuration, as ``"epochs"``. A configuration without this key is evaluated at `high`.
        low: the lowest value, above 0.
        high: the highest value.
        integer: whether only whole numbers are allowed; None: if `low` and `high` are whole.
        levels: the only values that there are, as in a table; None for all from `low` to `high`. A value that differs
            from one of them by less than a billionth is this one: ``0.1 * 3`` is 0.3.

    Raises:
        BadArgument: an argument has a wrong type or value.
    """

    __slots__ = ("_known", "high", "integer", "levels", "low", "name")

    def __init__(
        self,
        name: str,
        low: float,
        high: float,
        integer: bool | None = None,
        levels: tuple[float, ...] | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise BadArgument(f"The name of a fidelity is {name!r}; give the key of the configuration: 'epochs'.")
        check_real(f"low of the fidelity {name!r}", low, above=0.0)
        check_real(f"high of the fidelity {name!r}", high, least=low)
        if integer is None:
            integer = is_whole(low) and is_whole(high)
        if integer and (low != int(low) or high != int(high)):
            raise BadArgument(f"The fidelity {name!r} has whole numbers only, but goes from {low!r} to {high!r}.")
        self.name = name
        self.integer = bool(integer)
        self.low = self._plain(low)
        self.high = self._plain(high)
        self.levels = None if levels is None else self._check_levels(levels)
        self._known = frozenset(self.levels or ())

    def _check_levels(self, levels: Any) -> tuple[float, ...]:
        found: list[Any] = [levels] if isinstance(levels, str) or not isinstance(levels, Iterable) else list(levels)
        if not found or not all(
            is_real(one) and self.low <= one <= self.high and (one == int(one) or not self.integer) for one in found
        ):
            what = f"{'whole ' if self.integer else ''}numbers in [{self.low!r}, {self.high!r}]"
            raise BadArgument(f"The levels of the fidelity {self.name!r} are {levels!r}; give {what}.")
        return tuple(sorted(map(self._plain, found)))

    def _plain(self, value: float) -> float:
        return int(value) if self.integer else float(value)

    def check(self, value: Any) -> float:
        """Return a value of this fidelity, as an int or a float.

        Raises:
            BadArgument: it is not a number, not whole though it must be, out of range, or not one of the levels.
        """
        if not is_real(value):
            raise BadArgument(
                f"The fidelity {self.name!r} is {value!r} of type {type(value).__name__}; {self._wanted}."
            )
        if value in self._known:
            return self._plain(value)
        if self.levels is not None:
            place = place_of(decimal_float(value), self.levels)
            if place is not None:
                return self.levels[place]
        elif self.low <= value <= self.high and (not self.integer or value == int(value)):
            return self._plain(value)
        raise BadArgument(f"The fidelity {self.name!r} is {value!r}; {self._wanted}.")

    def share(self, value: float) -> float:
        """Return which share of the full evaluation this value is: 1.0 for the highest."""
        return value / self.high

    @property
    def _wanted(self) -> str:
        if self.levels is not None:
            return f"give one of {', '.join(map(repr, self.levels))}"
        what = "a whole number" if self.integer else "a number"
        return f"give {what} from {self.low!r} to {self.high!r}"

    def _parts(self) -> tuple[Any, ...]:
        return self.name, self.low, self.high, self.integer, self.levels

    def __eq__(self, other: object) -> bool:
        return self._parts() == other._parts() if isinstance(other, Fidelity) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._parts())

    def __reduce__(self) -> tuple[Any, ...]:
        return Fidelity, self._parts()

    def __repr__(self) -> str:
        levels = "" if self.levels is None else f", levels={self.levels!r}"
        return f"Fidelity({self.name!r}, {self.low!r}, {self.high!r}, integer={self.integer!r}{levels})"
