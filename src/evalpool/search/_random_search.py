"""Search spaces as plain dicts, and random search in them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evalpool._checks import as_float, check_number, is_number, is_whole
from evalpool._json import plain
from evalpool.errors import BadArgument
from evalpool.search._asktell import tells_configuration
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

    @property
    def integers(self) -> tuple[int, int] | None:
        """Between which whole numbers, both included, a value needs one from the generator; None: a float below 1."""
        return (int(self.low), int(self.high)) if self.whole and not self.log else None

    def of(self, drawn: Any) -> Any:
        """The value of what the generator gave, uniform, or uniform in its logarithm."""
        if not self.log:
            return drawn if self.whole else float(min(self.high, self.low + (self.high - self.low) * drawn))
        # Half a step at both ends gives the first and the last whole number their share.
        half = 0.5 if self.whole else 0.0
        low, high = math.log(self.low - half), math.log(self.high + half)
        value = math.exp(low + (high - low) * drawn)
        value = min(self.high, max(self.low, round(value) if self.whole else value))
        return int(value) if self.whole else float(value)

    def draw(self, rng: np.random.Generator) -> Any:
        """One value."""
        return self.of(_drawn(rng, self.integers))


class Choice(NamedTuple):
    """One of some values, all equally likely."""

    values: list[Any]

    @property
    def integers(self) -> tuple[int, int]:
        """Between which whole numbers, both included, a value needs one from the generator."""
        return 0, len(self.values) - 1

    def of(self, drawn: int) -> Any:
        """The value at this place, with its own type."""
        return self.values[drawn]

    def draw(self, rng: np.random.Generator) -> Any:
        """One of the values."""
        return self.of(_drawn(rng, self.integers))


INT64 = 2**63


def _drawn(rng: np.random.Generator, integers: tuple[int, int] | None) -> Any:
    if integers is None:
        return rng.random()
    low, high = integers
    if low >= -INT64 and high < INT64:
        return int(rng.integers(low, high, endpoint=True))
    span = high - low + 1
    # Eight bytes more than are needed: then no value is likelier than another by more than a part in 2**64.
    return low + int.from_bytes(rng.bytes(span.bit_length() // 8 + 9), "little") % span


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
        if not is_number(bound):
            raise BadArgument(f"space[{name!r}] is {value!r}; its bounds must be finite numbers: {ADVICE}.")
    if low > high:
        raise BadArgument(f"space[{name!r}] is {value!r}; the first bound must not be above the second.")
    if math.isinf(as_float(high) - as_float(low)):
        raise BadArgument(f"space[{name!r}] is {value!r}; the range is wider than the largest float, 1.8e308.")
    log = len(value) == 3
    if log and low <= 0:
        raise BadArgument(f"space[{name!r}] is {value!r}; a logarithmic range must begin above 0.")
    return Range(low, high, log, is_whole(low) and is_whole(high))


MOST_AT_ONCE = 256
"""Configurations in a block."""
MOST_ASKED = 1 << 16
"""Configurations that are known by identity: with a few choices only, their keys take less memory."""


class Space:
    """Dimensions by name, drawn independently.

    A call of a generator for one number costs a microsecond, ten times what the number costs in an array. So
    configurations are drawn in blocks, where a block has the numbers that single calls would have: if all dimensions
    need whole numbers, or all need floats. Others are drawn one by one.

    Args:
        dimensions: name -> dimension.
    """

    def __init__(self, dimensions: dict[str, Range | Choice | Drawn]) -> None:
        self._dimensions = dimensions
        self._ready: list[tuple[Any, ...]] = []  # the next configurations of a block, the last one first
        self._at_once = 1
        self._limits: Any = None  # of the whole numbers of a block: lowest, highest
        needed = [one.integers for one in dimensions.values() if not isinstance(one, Drawn)]
        whole = [limits for limits in needed if limits is not None and limits[0] >= -INT64 and limits[1] < INT64]
        self._by_floats = needed == [None] * len(dimensions)
        if len(whole) == len(dimensions):
            self._limits = np.array(whole).T

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """One configuration. The generator must always be the same one."""
        if not self._ready:
            if self._limits is None and not self._by_floats:
                return {name: dimension.draw(rng) for name, dimension in self._dimensions.items()}
            self._draw_block(rng)
        return dict(zip(self._dimensions, self._ready.pop(), strict=True))

    def _draw_block(self, rng: np.random.Generator) -> None:
        """Draw a block; the first ones are small, since most searches are short."""
        size = self._at_once, len(self._dimensions)
        self._at_once = min(2 * self._at_once, MOST_AT_ONCE)
        if self._limits is None:
            block: Any = rng.random(size)
        else:
            low, high = self._limits
            block = rng.integers(low, high, size=size, endpoint=True)
        dimensions: Any = self._dimensions.values()  # none is drawn by a function
        columns = [map(one.of, column) for one, column in zip(dimensions, block.T.tolist(), strict=True)]
        self._ready = list(zip(*columns, strict=True))
        self._ready.reverse()


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
        # Asked for and not yet told: by identity, and by key once somebody tells another dict than those.
        self._asked: dict[int, dict[str, Any]] = {}
        self._out: Counter[Hashable] = Counter()
        self._known: Counter[Hashable] = Counter()  # told and not asked for

    def ask(self) -> dict[str, Any]:
        """Return the next configuration."""
        configuration = self._space.draw(self._rng)
        while self._known and _take(self._known, configuration_key(configuration)):
            # One result replaces one proposal, so this loop ends.
            configuration = self._space.draw(self._rng)
        self._asked[id(configuration)] = configuration
        if len(self._asked) > MOST_ASKED:
            self._use_keys()
        return configuration

    @tells_configuration("_tell_configuration")
    def tell(self, job: Job[Any]) -> None:
        """Note that a configuration has been evaluated."""
        self._tell_configuration(job.args, None)

    def _tell_configuration(self, configuration: dict[str, Any], objective: Any) -> None:
        if self._asked.get(id(configuration)) is configuration:
            del self._asked[id(configuration)]
            return
        self._use_keys()
        key = configuration_key(configuration)
        if not _take(self._out, key):
            self._known[key] += 1

    def _use_keys(self) -> None:
        for configuration in self._asked.values():
            self._out[configuration_key(configuration)] += 1
        self._asked.clear()


def _take(counter: Counter[Hashable], key: Hashable) -> bool:
    """Take one away; return whether there was one."""
    count = counter.get(key, 0)
    if count > 1:
        counter[key] = count - 1
    elif count:
        del counter[key]
    return count > 0


def configuration_key(configuration: dict[str, Any]) -> Hashable:
    """A key that is the same for equal configurations, in any order of names; 1, 1.0 and True are not equal."""
    values = plain(configuration, lenient=True)
    for value in values.values():
        if type(value) is dict or type(value) is list or value != value:
            return _as_json(values)
    items = sorted(values.items())
    return tuple(items), tuple([type(value) for _, value in items])


_as_json = json.JSONEncoder(sort_keys=True).encode
