"""Search spaces of ConfigSpace, with their conditions and forbidden combinations."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from evalpool._json import plain

__all__ = ["ConfigurationSpace", "is_configuration_space", "space_of"]


def is_configuration_space(space: Any) -> bool:
    """Whether it is a `ConfigSpace.ConfigurationSpace`, or has the methods of one that we use. Imports nothing."""
    return callable(getattr(space, "sample_configuration", None)) and callable(getattr(space, "seed", None))


def space_of(space: Any) -> Any:
    """The space itself; or that of what has one, as a `evalpool.benchmarks.Benchmark`, under the name `space`."""
    if isinstance(space, dict) or is_configuration_space(space):
        return space
    return getattr(space, "space", space)


class ConfigurationSpace:
    """Draws configurations from a space: only active hyperparameters, never a forbidden combination.

    The user's space is not changed: we draw from a copy with a seed of its own.
    """

    def __init__(self, space: Any) -> None:
        self._space = copy.deepcopy(space)
        self._seeded = False

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """One configuration, from the space's own generator, which the first draw seeds with `rng`."""
        if not self._seeded:
            self._space.seed(int(rng.integers(2**31)))
            self._seeded = True
        configuration: dict[str, Any] = plain(dict(self._space.sample_configuration()), lenient=True)
        return configuration
