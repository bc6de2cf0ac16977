"""Checks numbers of virtual seconds."""

from __future__ import annotations

import math
from typing import Any

from evalpool._checks import check_number
from evalpool.errors import BadArgument

__all__ = ["check_limit", "check_overhead", "check_runtime", "check_time", "check_whole"]


def check_runtime(value: Any) -> float | str:
    """Return the seconds as a float; or a text that says why the value is not a number of seconds."""
    if type(value) is not float:
        seconds = math.nan
        if not isinstance(value, (str, bytes, bool)):
            try:
                seconds = float(value)
            except (TypeError, ValueError, OverflowError):
                seconds = math.nan
        if math.isnan(seconds):
            return f"the runtime is {value!r} of type {type(value).__name__}; it must be a number of seconds"
        value = seconds
    if not 0.0 <= value < math.inf:
        return f"the runtime is {value!r}; it must be a finite number of seconds, 0 or more"
    return value  # type: ignore[no-any-return]  # a float by now


def check_overhead(value: Any) -> float:
    """Return the seconds as a float. Raises `BadArgument` with the value."""
    if type(value) is float and 0.0 <= value < math.inf:
        return value
    seconds = check_runtime(value)
    if isinstance(seconds, str):
        raise BadArgument(f"The overhead of a decision is {value!r}; give a finite number of seconds, 0 or more.")
    return seconds


def check_whole(name: str, value: Any, least: int, *, optional: bool = False) -> int | None:
    """Return a whole number of at least `least`; or None, if it is `optional`."""
    if value is None and optional:
        return None
    return check_number(name, value, least)


def check_time(name: str, value: Any) -> float:
    """Return seconds of virtual time, 0 or more."""
    seconds = check_runtime(value)
    if isinstance(seconds, str):
        raise BadArgument(f"{name} is {value!r}; give seconds of virtual time, 0 or more.")
    return seconds


def check_limit(name: str, value: Any) -> float | None:
    """Return seconds above 0; or None for no limit, which infinity means, too."""
    if value is None or value == math.inf:
        return None
    seconds = check_runtime(value)
    if isinstance(seconds, str) or seconds == 0.0:
        raise BadArgument(f"{name} is {value!r}; give seconds of virtual time above 0, or None for no limit.")
    return seconds
