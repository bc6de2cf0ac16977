"""Runtimes for benchmarks that have none: a formula of the configuration, the same in every process and every run."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

from evalpool._checks import check_number, check_real, is_real
from evalpool._json import plain
from evalpool.errors import BadArgument
from evalpool.jobs._draws import uniform

__all__ = ["RuntimeModel"]

_quantile = NormalDist().inv_cdf


class RuntimeModel:
    """How many virtual seconds an evaluation takes, as a function of its configuration and its fidelity.

    A runtime is a product: ``seconds``, times a lognormal factor of median 1 (`sigma`), times a factor for each
    parameter that matters, times the share of the full evaluation that was asked for. The lognormal factor is drawn
    from `seed` and the configuration, not from a stream of random numbers. So equal configurations take equally long,
    also at other fidelities, on every backend, in every order.

    >>> RuntimeModel.constant(60.0).seconds({"x": 1})
    60.0
    >>> model = RuntimeModel.parameter("layers", {1: 60.0, 2: 100.0}).with_fidelity()
    >>> model.seconds({"layers": 2}, share=0.5)
    50.0
    >>> model = RuntimeModel.lognormal(60.0, 0.5, seed=1)
    >>> model.seconds({"x": 0.25}) == model.seconds({"x": 0.25}) != model.seconds({"x": 0.5})
    True

    Args:
        seconds: virtual seconds of a full evaluation: the median, if `sigma` is above 0.
        sigma: standard deviation of the logarithm: with 0.5, two of three runtimes are within a factor of 1.65.
        seed: other seeds give other lognormal factors.

    Raises:
        BadArgument: an argument has a wrong type or value.
    """

    __slots__ = ("_factors", "fixed", "median", "seed", "sigma")

    def __init__(self, seconds: float, sigma: float = 0.0, seed: int = 0) -> None:
        self.median = check_real("seconds of a runtime model", seconds, least=0.0)
        self.sigma = check_real("sigma of a runtime model", sigma, least=0.0)
        self.seed = check_number("seed of a runtime model", seed, 0)
        self.fixed: float | None = None
        self._factors: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def constant(cls, seconds: float) -> RuntimeModel:
        """Every full evaluation takes this many seconds."""
        return cls(seconds)

    @classmethod
    def lognormal(cls, median: float, sigma: float, seed: int = 0) -> RuntimeModel:
        """Runtimes are lognormal: their logarithms have the mean log(`median`) and the standard deviation `sigma`."""
        return cls(median, sigma, seed)

    @classmethod
    def parameter(cls, name: str, seconds: Callable[[Any], float] | Mapping[Any, float]) -> RuntimeModel:
        """Runtimes depend on one parameter: `seconds` is a dict from its values, or a function of its value."""
        return cls(1.0).times(name, seconds)

    def times(self, name: str, factor: Callable[[Any], float] | Mapping[Any, float]) -> RuntimeModel:
        """Return a model whose runtimes are multiplied by a factor that depends on a parameter.

        Args:
            name: of the parameter.
            factor: a dict from each value to its factor, or a function of the value.

        Raises:
            BadArgument: `factor` is neither.
        """
        if not callable(factor) and not isinstance(factor, Mapping):
            raise BadArgument(f"The factor of {name!r} is {factor!r}; give a dict from values, or a function.")
        model = copy.copy(self)
        model._factors = (*self._factors, (name, factor if callable(factor) else dict(factor)))
        return model

    def with_fidelity(self, fixed: float = 0.0) -> RuntimeModel:
        """Return a model whose runtimes grow in proportion to the fidelity; without this they do not depend on it.

        Args:
            fixed: the share of a full evaluation that each evaluation takes, whatever its fidelity: loading the data,
                for instance. 0.0 to 1.0.

        Raises:
            BadArgument: `fixed` is not such a share.
        """
        if not is_real(fixed) or not 0.0 <= fixed <= 1.0:
            raise BadArgument(f"fixed is {fixed!r}; give the share of a full evaluation, from 0.0 to 1.0.")
        model = copy.copy(self)
        model.fixed = float(fixed)
        return model

    def seconds(self, configuration: Mapping[str, Any], share: float = 1.0, without: str | None = None) -> float:
        """Return the virtual seconds of one evaluation.

        Args:
            configuration: the values of the parameters.
            share: of the full evaluation, as `Fidelity.share` gives it.
            without: the key of the fidelity in the configuration, which does not change the lognormal factor.

        Raises:
            BadArgument: a parameter that matters is missing, or has a value without a factor.
        """
        seconds = self.median
        if self.sigma:
            seconds *= math.exp(self.sigma * _quantile(self._uniform(configuration, without)))
        for name, factor in self._factors:
            seconds *= _factor_of(configuration, name, factor)
        if self.fixed is not None:
            seconds *= self.fixed + (1.0 - self.fixed) * share
        return seconds

    def _uniform(self, configuration: Mapping[str, Any], without: str | None) -> float:
        """A number above 0 and below 1 that belongs to this seed and configuration."""
        values = plain(dict(configuration), lenient=True)
        return uniform(repr((self.seed, sorted([item for item in values.items() if item[0] != without]))))

    def __repr__(self) -> str:
        parts = [f"{self.median:g} s"]
        if self.sigma:
            parts.append(f"lognormal with sigma {self.sigma:g}, seed {self.seed}")
        parts += [f"depends on {name!r}" for name, _ in self._factors]
        if self.fixed is not None:
            parts.append(f"grows with the fidelity from {self.fixed:g}")
        return f"<RuntimeModel {', '.join(parts)}>"


def _factor_of(configuration: Mapping[str, Any], name: str, factor: Any) -> float:
    if name not in configuration or (type(factor) is dict and not _has(factor, configuration[name])):
        known = f", with a value of {sorted(factor, key=repr)!r}" if type(factor) is dict else ""
        raise BadArgument(
            f"The runtime model needs the parameter {name!r}{known}, and the configuration is {dict(configuration)!r}."
        )
    value = configuration[name]
    found = factor[value] if type(factor) is dict else factor(value)
    try:
        return float(found)
    except (TypeError, ValueError):
        raise BadArgument(
            f"The runtime model's factor for {name!r} = {value!r} is {found!r} of type {type(found).__name__}; give a "
            "number."
        ) from None


def _has(factors: dict[Any, Any], value: Any) -> bool:
    try:
        return value in factors
    except TypeError:  # it cannot be a key
        return False
