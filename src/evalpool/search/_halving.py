"""Asynchronous successive halving that promotes: short evaluations of many configurations, longer ones of the best.

Source: L. Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020, arXiv 1810.05934), algorithm
2. `SuccessiveHalvingStopper` is the other form, which ends running jobs instead.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Hashable
from typing import Any

from evalpool._checks import check_number, check_real, is_whole
from evalpool.errors import BadArgument
from evalpool.search._brackets import round_robin, shares
from evalpool.search._random_search import RandomSearch, configuration_key
from evalpool.search._rungs import place_of, rungs_below

__all__ = ["SuccessiveHalving"]


class SuccessiveHalving:
    """Evaluates random configurations at the lowest fidelity, and the best ``1 / reduction_factor`` of each rung at the
    next one, without waiting for others. With several brackets it is asynchronous Hyperband.

    The fidelity is a key of the configuration that the run-function sees. In simulated time a promoted configuration
    can continue its earlier evaluation: ``simulate(..., fidel_key="epochs", continual_max_fidel=27)``. A failure is
    never promoted. For searches with one objective. O(log n) per decision, besides the insertion into a sorted list.

    >>> from evalpool import simulate
    >>> def train(job):
    ...     return {"objective": -job["x"] / job["epochs"], "runtime": float(job["epochs"])}
    >>> search = SuccessiveHalving({"x": (0, 99)}, "epochs", 1, 9, seed=0)
    >>> result = simulate(search, train, max_submits=13, fidel_key="epochs", continual_max_fidel=9)
    >>> [configuration["epochs"] for configuration in result.configurations]
    [1, 1, 1, 3, 1, 3, 1, 1, 3, 9, 1, 3, 1]

    Args:
        space: as for `RandomSearch`, without the fidelity.
        fidelity: the name of the fidelity: ``"epochs"``.
        low: the lowest rung, above 0.
        high: the highest rung; the others are ``low * reduction_factor**k``, whole numbers if `low` and `high` are.
        reduction_factor: one of this many configurations is promoted; above 1.
        brackets: how many brackets; each begins a rung higher than the one before it. A configuration's number decides
            its bracket, in the proportions of Hyperband.
        seed: of the configurations; None for another sequence each time.

    Raises:
        BadArgument: an argument has a wrong type or value.
    """

    def __init__(
        self,
        space: Any,
        fidelity: str,
        low: float,
        high: float,
        *,
        reduction_factor: float = 3,
        brackets: int = 1,
        seed: int | None = None,
    ) -> None:
        if not isinstance(fidelity, str) or not fidelity:
            raise BadArgument(f"fidelity is {fidelity!r}; give the key of the configuration: 'epochs'.")
        self.fidelity = fidelity
        self.rungs = _rungs(low, high, reduction_factor)
        self._factor = reduction_factor
        if check_number("brackets", brackets, 1) > len(self.rungs):
            raise BadArgument(f"brackets is {brackets!r}, and there are {len(self.rungs)} rungs: {self.rungs!r}.")
        self._shares = shares(len(self.rungs), brackets, reduction_factor)
        self._fresh = RandomSearch(space, seed)
        self._known: list[dict[str, Any]] = []  # the configurations, by number
        self._not_asked: dict[Hashable, int] = {}  # the numbers of those that another run asked for
        self._results = {(bracket, rung): _Rung() for bracket in range(brackets) for rung in range(len(self.rungs))}

    def ask(self) -> tuple[dict[str, Any], dict[str, Any], int]:
        """Return a configuration, its fidelity, and its number, which is the same at all rungs."""
        for rung in range(len(self.rungs) - 2, -1, -1):
            for bracket in range(len(self._shares)):
                number = self._results[bracket, rung].promote(self._factor)
                if number is not None:
                    return self._known[number], {self.fidelity: self.rungs[rung + 1]}, number
        number = len(self._known)
        self._known.append(self._fresh.ask())
        return self._known[number], {self.fidelity: self.rungs[self._bracket_of(number)]}, number

    def tell(
        self,
        eval_config: dict[str, Any],
        results: dict[str, Any],
        *,
        fidels: dict[str, Any] | None = None,
        config_id: int | None = None,
    ) -> None:
        """Take a result, also one of another run, which has no number."""
        objective = results["objective"]
        if isinstance(objective, (tuple, list)):
            raise BadArgument(f"Successive halving compares one objective, and was told {objective!r}.")
        if fidels is None:
            fidels = {self.fidelity: eval_config.get(self.fidelity)}
            eval_config = {name: value for name, value in eval_config.items() if name != self.fidelity}
        number = self._number_of(eval_config) if config_id is None else config_id
        rung, bracket = place_of(fidels[self.fidelity], self.rungs), self._bracket_of(number)
        if rung is None:
            return  # of a run with other rungs; there is nothing to compare it with
        if rung > 0:
            self._results[bracket, rung - 1].promoted.add(number)
        self._results[bracket, rung].add(math.inf if isinstance(objective, str) else -objective, number)

    def _number_of(self, configuration: dict[str, Any]) -> int:
        number = self._not_asked.setdefault(configuration_key(configuration), len(self._known))
        if number == len(self._known):
            self._known.append(configuration)
        return number

    def _bracket_of(self, number: int) -> int:
        return round_robin(number, self._shares)


class _Rung:
    """The results of one bracket at one fidelity.

    Attributes:
        promoted: numbers of configurations that are at a higher rung already.
    """

    def __init__(self) -> None:
        self._heard: list[tuple[float, int]] = []  # loss and number; the best first
        self._waiting: list[tuple[float, int]] = []  # those that may be promoted, as a heap
        self.promoted: set[int] = set()

    def add(self, loss: float, number: int) -> None:
        bisect.insort(self._heard, (loss, number))
        if loss < math.inf:
            heapq.heappush(self._waiting, (loss, number))

    def promote(self, factor: float) -> int | None:
        """Return the number of the best configuration that is among the best share and was not promoted, or None."""
        waiting = self._waiting
        while waiting and waiting[0][1] in self.promoted:
            heapq.heappop(waiting)
        if not waiting or bisect.bisect_left(self._heard, waiting[0]) >= int(len(self._heard) // factor):
            return None
        _, number = heapq.heappop(waiting)
        self.promoted.add(number)
        return number


def _rungs(low: float, high: float, factor: float) -> list[float]:
    check_real("low", low, above=0)
    check_real("high", high, least=low)
    whole = is_whole(low) and is_whole(high)
    rungs = [round(value) if whole else float(value) for value in rungs_below(low, high, factor)]
    return [*dict.fromkeys(rungs), int(high) if whole else float(high)]
