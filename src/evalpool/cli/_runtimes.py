"""Runtimes as they are given on a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.benchmarks import RuntimeModel

__all__ = ["runtime_model"]


def runtime_model(text: str) -> RuntimeModel:
    """The model that ``60`` or ``60,0.5`` means; the seed of the search does not change it."""
    from evalpool.benchmarks import RuntimeModel

    try:
        median, sigma = map(float, text.split(",") if "," in text else (text, "0"))
    except ValueError:
        raise BadArgument(f"--runtime is {text!r}; give seconds, or a median and a sigma as 60,0.5.") from None
    return RuntimeModel(median, sigma)
