"""Checks of arguments for every room: numbers, seconds, choices. Each returns a plain Python value, or raises.

numpy's numbers are accepted, because scientific programs use them: ``seed=rng.integers(100)``,
``num_workers=np.int64(4)``. The abstract classes of `numbers` recognise them without an import of numpy. Booleans are
not accepted as numbers: ``num_workers=True`` is a mistake.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

from evalpool.errors import BadArgument

__all__ = [
    "as_float",
    "check_choice",
    "check_number",
    "check_numbers",
    "check_real",
    "check_seconds",
    "check_wait",
    "decimal_float",
    "is_number",
    "is_real",
    "is_whole",
]


def as_float(value: float) -> float:
    """Return a number as a float; infinity for a whole number that is larger than any float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def decimal_float(value: float) -> float:
    """Return a real number as a float: 0.1 for ``numpy.float32(0.1)``, which `float` makes 0.10000000149011612."""
    return float(str(value)) if getattr(getattr(value, "dtype", None), "itemsize", 8) < 8 else as_float(value)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number of Python or numpy."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """Whether a value is a real number of Python or numpy; NaN and infinity are."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, which can be compared."""
    return is_real(value) and math.isfinite(as_float(value))


def check_number(name: str, value: Any, least: int) -> int:
    """Return a whole number of at least `least`, as an int."""
    if type(value) is not int and not is_whole(value):
        raise BadArgument(
            f"{name} is {value!r} of type {type(value).__name__}; give a whole number of at least {least}."
        )
    if value < least:
        raise BadArgument(f"{name} is {value!r}; give a whole number of at least {least}.")
    return int(value)


def check_numbers(name: str, values: Any, least: int) -> list[int]:
    """Return whole numbers of at least `least`, at least one of them, each once; a number alone is one."""
    found = [values] if is_whole(values) else list(values) if isinstance(values, Iterable) else []
    if not found:
        raise BadArgument(f"{name} is {values!r}; give whole numbers of at least {least}.")
    return list(dict.fromkeys(check_number(name, value, least) for value in found))


def check_real(name: str, value: Any, *, least: float = -math.inf, above: float | None = None) -> float:
    """Return a finite number of at least `least`, or above `above`, as a float."""
    if is_number(value) and (value >= least if above is None else value > above):
        return float(value)
    wanted = f"above {above:g}" if above is not None else f"of at least {least:g}" if least > -math.inf else ""
    raise BadArgument(f"{name} is {value!r}; give a finite number{' ' if wanted else ''}{wanted}.")


def check_seconds(name: str, value: Any) -> float | None:
    """Return seconds above 0 as a float; or None for no limit, which infinity means, too."""
    if value is None:
        return None
    seconds = as_float(value) if is_real(value) else math.nan
    if math.isnan(seconds) or seconds <= 0:
        raise BadArgument(f"{name} is {value!r}; give seconds above 0, or None for no limit.")
    return None if math.isinf(seconds) else seconds


def check_wait(name: str, value: Any) -> float | None:
    """Return the seconds to wait at most, as a float: 0 means no wait; None, and infinity, mean no limit."""
    if value is None:
        return None
    seconds = as_float(value) if is_real(value) else math.nan
    if math.isnan(seconds) or seconds < 0:
        raise BadArgument(f"{name} is {value!r}; give seconds of 0 or more, or None to wait as long as it takes.")
    return None if math.isinf(seconds) else seconds


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return the value, which must be one of `choices`."""
    if value not in choices:
        raise BadArgument(f"{name} is {value!r}; give one of {', '.join(map(repr, choices))}.")
    return str(value)
