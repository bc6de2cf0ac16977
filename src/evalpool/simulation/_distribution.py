"""Distributions of virtual seconds, for what happens to workers: how long one starts, how long it is there."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Any

from evalpool._checks import check_number, is_real
from evalpool.errors import BadArgument
from evalpool.jobs._draws import uniform

__all__ = ["Distribution", "distribution"]

_quantile = NormalDist().inv_cdf


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Virtual seconds that are drawn anew for each worker and each of its starts.

    A draw derives from the seed and from what is drawn, not from a stream of random numbers. So it is the same on every
    backend, in every order and at every repeat.

    >>> Distribution.constant(30.0).draw("worker", 0)
    30.0
    >>> delays = Distribution.uniform(20.0, 40.0, seed=1)
    >>> 20.0 < delays.draw("worker", 0) == delays.draw("worker", 0) != delays.draw("worker", 1) < 40.0
    True

    Attributes:
        shape: the name of the method that made it.
        values: what that was given.
        seed: other seeds give other draws.
    """

    shape: str
    values: tuple[float, ...]
    seed: int = 0

    @classmethod
    def constant(cls, seconds: float) -> Distribution:
        """Always this many seconds."""
        return cls("constant", _checked("constant", seconds=seconds))

    @classmethod
    def uniform(cls, low: float, high: float, seed: int = 0) -> Distribution:
        """Any number of seconds between two is as likely as any other."""
        values = _checked("uniform", low=low, high=high)
        if values[0] >= values[1]:
            raise BadArgument(f"A uniform distribution has low={low!r} and high={high!r}; give a low below the high.")
        return cls("uniform", values, _seed(seed))

    @classmethod
    def exponential(cls, mean: float, seed: int = 0) -> Distribution:
        """As likely to end in the next second as in any other: failures without a memory. `mean` is in seconds."""
        return cls("exponential", _checked("exponential", mean=mean), _seed(seed))

    @classmethod
    def lognormal(cls, median: float, sigma: float, seed: int = 0) -> Distribution:
        """The logarithm is normal, with the mean log(`median`) and the standard deviation `sigma`."""
        return cls("lognormal", _checked("lognormal", median=median, sigma=sigma), _seed(seed))

    @classmethod
    def measured(cls, seconds: Iterable[float], seed: int = 0) -> Distribution:
        """One of the given numbers of seconds, each as likely as the others."""
        found = list(seconds) if isinstance(seconds, Iterable) else []
        if not found:
            raise BadArgument(
                f"Distribution.measured got {seconds!r}; give a list with at least one number of seconds."
            )
        return cls(
            "measured", _checked("measured", **{f"seconds[{at}]": one for at, one in enumerate(found)}), _seed(seed)
        )

    @property
    def may_be_zero(self) -> bool:
        """Whether it may give 0 seconds."""
        if self.shape == "uniform":
            return False  # a draw is above its low
        return 0.0 in (self.values if self.shape == "measured" else self.values[:1])

    def draw(self, *what: str | int) -> float:
        """Return the seconds of one thing, which is named by texts and whole numbers."""
        values = self.values
        if self.shape == "constant":
            return values[0]
        share = uniform(repr((self.seed, *what)))
        if self.shape == "uniform":
            return values[0] + (values[1] - values[0]) * share
        if self.shape == "exponential":
            return -values[0] * math.log(share)
        if self.shape == "lognormal":
            return values[0] * math.exp(values[1] * _quantile(share))
        return values[int(share * len(values))]

    def __repr__(self) -> str:
        given = repr(list(self.values)) if self.shape == "measured" else ", ".join(map(repr, self.values))
        seed = "" if self.shape == "constant" else f", seed={self.seed}"
        return f"Distribution.{self.shape}({given}{seed})"


def distribution(name: str, value: Any) -> Distribution | None:
    """Return an argument that may be a distribution, a number of seconds, or None. Raises `BadArgument`."""
    if value is None or isinstance(value, Distribution):
        return value
    if not is_real(value):
        raise BadArgument(
            f"{name} is {value!r} of type {type(value).__name__}; give virtual seconds, or a distribution such as "
            "Distribution.exponential(3600.0)."
        )
    return Distribution("constant", (_seconds(name, value),))


def _checked(shape: str, **given: Any) -> tuple[float, ...]:
    return tuple(_seconds(f"{name} of Distribution.{shape}", value) for name, value in given.items())


def _seconds(name: str, value: Any) -> float:
    if not is_real(value) or not 0.0 <= value < math.inf:
        raise BadArgument(f"{name} is {value!r}; give a finite number, 0 or more.")
    return float(value)


def _seed(value: Any) -> int:
    return check_number("seed of a distribution", value, 0)
