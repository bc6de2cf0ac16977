"""Search spaces as plain dicts, and random search in them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evalpool._checks import check_number, is_real, is_whole
from evalpool._json import plain
from evalpool.errors import BadArgument
from evalpool.search._spaces import ConfigurationSpace, is_configuration_space, space_of

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["Choice", "Drawn", "RandomSearch", "Range", "configuration_key", "read_space"]

ADVICE = (
    "give (low, high) for a range of whole numbers or floats, (low, high, 'log') for one on a logarithmic "
    "scale, a list for choices, or a function of a numpy.random.Generator"
)


class Range(NamedTuple):
    """Whole numbers or floats from `low` to `high`, both included."""

    low: float
    high: float
    log: bool
    whole: bool

    def draw(self, rng: np.random.Generator) -> Any:
        """One value, uniform, or uniform in its logarithm."""
        if self.whole and not self.log:
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        if not self.log:
            return float(min(self.high, self.low + (self.high - self.low) * rng.random()))
        # Half a step at both ends gives the first and the last whole number their share.
        half = 0.5 if self.whole else 0.0
        low, high = math.log(self.low - half), math.log(self.high + half)
        value = math.exp(low + (high - low) * rng.random())
        value = min(self.high, max(self.low, round(value) if self.whole else value))
        return int(value) if self.whole else float(value)


class Choice(NamedTuple):
    """One of some values, all equally likely."""

    values: list[Any]

    def draw(self, rng: np.random.Generator) -> Any:
        """One of the values, with its own type."""
        return self.values[int(rng.integers(len(self.values)))]


class Drawn(NamedTuple):
    """Whatever a function of a random generator returns."""

    function: Callable[[np.random.Generator], Any]

    def draw(self, rng: np.random.Generator) -> Any:
        """One value, as the function returns it."""
        return self.function(rng)


def read_space(space: Any) -> dict[str, Range | Choice | Drawn]:
    """Check a search space and return its dimensions by name.

    Raises:
        BadArgument: a dimension is wrong; the message says which, why, and what is accepted.
    """
    if not isinstance(space, dict) or not space:
        raise BadArgument(f"space is {space!r}; give a dict with a name per hyperparameter: {{'x': (0.0, 1.0)}}.")
    return {name: _dimension(name, value) for name, value in space.items()}


def _dimension(name: Any, value: Any) -> Range | Choice | Drawn:
    if not isinstance(name, str):
        raise BadArgument(f"space has the key {name!r} of type {type(name).__name__}; names are text.")
    if isinstance(value, list):
        if not value:
            raise BadArgument(f"space[{name!r}] is an empty list of choices; give at least one.")
        return Choice(list(value))
    if callable(value):
        return Drawn(value)
    if not isinstance(value, tuple) or len(value) not in (2, 3) or value[2:] not in ((), ("log",)):
        raise BadArgument(f"space[{name!r}] is {value!r}; {ADVICE}.")
    low, high = value[:2]
    for bound in (low, high):
        if not is_real(bound) or not math.isfinite(bound):
            raise BadArgument(f"space[{name!r}] is {value!r}; its bounds must be finite numbers: {ADVICE}.")
    if low > high:
        raise BadArgument(f"space[{name!r}] is {value!r}; the first bound must not be above the second.")
    log = len(value) == 3
    if log and low <= 0:
        raise BadArgument(f"space[{name!r}] is {value!r}; a logarithmic range must begin above 0.")
    return Range(low, high, log, is_whole(low) and is_whole(high))


class Space(NamedTuple):
    """Dimensions by name, drawn independently."""

    dimensions: dict[str, Range | Choice | Drawn]

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """One configuration."""
        return {name: dimension.draw(rng) for name, dimension in self.dimensions.items()}


class RandomSearch:
    """Proposes configurations drawn independently from a space; reproducible.

    A search that is resumed with the same seed continues where it was: a configuration whose result is told
    without having been asked for is not proposed again.

    Args:
        space: name -> ``(low, high)``: whole numbers if both are, else floats, both ends included;
            ``(low, high, "log")``: on a logarithmic scale; a list: one of these values; or a function of a
            `numpy.random.Generator` that returns a value. Or a `ConfigSpace.ConfigurationSpace`, whose conditions and
            forbidden combinations are respected. Or a `evalpool.benchmarks.Benchmark`, whose space is taken.
        seed: the same seed gives the same sequence of proposals; None gives another sequence each time.

    Raises:
        BadArgument: `space` is not a search space, or `seed` is not a seed.

    >>> RandomSearch({"x": (1, 10), "kind": ["a", "b"]}, seed=0).ask()
    {'x': 9, 'kind': 'b'}
    """

    def __init__(self, space: Any, seed: int | None = None) -> None:
        space = space_of(space)
        self._space = ConfigurationSpace(space) if is_configuration_space(space) else Space(read_space(space))
        self._rng = np.random.default_rng(None if seed is None else check_number("seed", seed, 0))
        self._out: Counter[Hashable] = Counter()  # asked for and not yet told
        self._known: Counter[Hashable] = Counter()  # told and not asked for

    def ask(self) -> dict[str, Any]:
        """Return the next configuration."""
        while True:
            configuration = self._space.draw(self._rng)
            key = configuration_key(configuration)
            if not self._known[key]:
                self._out[key] += 1
                return configuration
            self._known[key] -= 1  # one result replaces one proposal, so this loop ends

    def tell(self, job: Job[Any]) -> None:
        """Note that a configuration has been evaluated."""
        key = configuration_key(job.args)
        if self._out[key] > 1:
            self._out[key] -= 1
        elif self._out[key]:
            del self._out[key]
        else:
            self._known[key] += 1


def configuration_key(configuration: dict[str, Any]) -> Hashable:
    """A key that is the same for equal configurations, in any order of names; 1, 1.0 and True are not equal."""
    values = plain(configuration, lenient=True)
    for value in values.values():
        if type(value) is dict or type(value) is list or value != value:
            return _as_json(values)
    items = sorted(values.items())
    return tuple(items), tuple([type(value) for _, value in items])


_as_json = json.JSONEncoder(sort_keys=True).encode
