"""Units of runtimes. Simulated time is in seconds, and tables hold what their authors measured with."""

from __future__ import annotations

import re
from typing import Any

from evalpool.errors import BadArgument

__all__ = ["check_named_unit", "check_unit"]

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""Unit -> its length in seconds."""

SPELT = {
    "nanoseconds": "ns", "microseconds": "us", "milliseconds": "ms", "millis": "ms", "msec": "ms", "ms": "ms",
    "us": "us", "minutes": "min", "minute": "min", "mins": "min", "min": "min", "hours": "h", "hour": "h", "hrs": "h",
    "h": "h", "days": "d", "day": "d", "seconds": "s", "second": "s", "secs": "s", "sec": "s", "s": "s",
}  # fmt: skip
"""How units are spelt in names of columns."""

_LAST_WORD = re.compile(r"(?:^|[^A-Za-z])([A-Za-z]+)[^A-Za-z]*\Z")


def check_unit(value: Any) -> float:
    """Return the length in seconds of a unit: ``"s"``, ``"min"``. Raises `BadArgument`."""
    if isinstance(value, str) and (seconds := SECONDS.get(SPELT.get(value.lower(), value))) is not None:
        return seconds
    raise BadArgument(f"runtime_unit is {value!r}; give one of {', '.join(map(repr, SECONDS))}.")


def check_named_unit(name: str, unit: str | None) -> float:
    """Return the length in seconds of the unit of the runtimes under this name.

    A name that ends with another unit than seconds (``train_minutes``, ``time_ms``) is refused without `unit`: as
    seconds its values would be wrong by a factor that nobody sees in a plot.

    Args:
        name: of the column, or of the key.
        unit: as given by the caller; None for seconds.

    Raises:
        BadArgument: there is no such unit; or none is given, and the name says another one than seconds.
    """
    found = _LAST_WORD.search(name)
    spelt = SPELT.get(found[1].lower()) if found else None
    if spelt is None or (unit is None and spelt == "s"):
        return check_unit("s" if unit is None else unit)
    if unit is None:
        raise BadArgument(
            f"The runtimes are in {name!r}, which says {spelt!r}, and simulated time is in seconds: give "
            f"runtime_unit={spelt!r}, or runtime_unit='s' if they are seconds."
        )
    return check_unit(unit)
