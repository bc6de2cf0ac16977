"""Runtimes as they are given on a command line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from evalpool.cli._options import read_seconds
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.benchmarks import RuntimeModel

__all__ = ["median_and_sigma", "runtime_model"]


def runtime_model(text: str, option: str = "--runtime") -> RuntimeModel:
    """The model that ``60`` or ``60,0.5`` means; the seed of the search does not change it."""
    from evalpool.benchmarks import RuntimeModel

    return RuntimeModel(*median_and_sigma(option, text))


def median_and_sigma(option: str, text: str) -> tuple[float, float]:
    """The seconds and the sigma of ``60``, ``1m`` or ``60,0.5``; a sigma of 0 means that they are constant."""
    time, comma, rest = text.partition(",")
    median, sigma = read_seconds(time), 0.0
    try:
        sigma = float(rest) if comma else 0.0
    except ValueError:
        median = None
    if median is None or not (0.0 <= median < math.inf and 0.0 <= sigma < math.inf):
        raise BadArgument(
            f"{option} is {text!r}; give seconds, or a median and a sigma as 60,0.5, of 0 or more; a time "
            "also as 90s, 15m, 2h, 1d, 500ms."
        )
    return median, sigma
