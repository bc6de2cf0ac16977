"""Hyperband: successive halving with several first rungs at the same time.

Successive halving cannot know how early a comparison means something. Hyperband runs brackets, each of which compares
for the first time a rung later than the one before it.

Source: L. Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization" (JMLR 18, 2018).
"""

from __future__ import annotations

from typing import Any

from evalpool._checks import check_number
from evalpool.errors import BadArgument
from evalpool.search._brackets import round_robin, shares
from evalpool.search._stoppers import Stopper, SuccessiveHalvingStopper

__all__ = ["HyperbandStopper"]


class HyperbandStopper(Stopper):
    """Divides jobs among brackets of successive halving, which begin to end jobs at different budgets.

    Bracket 0 compares at all rungs of `SuccessiveHalvingStopper`, bracket 1 leaves out the first, and so on; the last
    one lets each job reach `max_steps`. Jobs are compared only with those of their own bracket. A job's number decides
    its bracket, so it is the same on every backend and in simulated time; of any consecutive numbers, the brackets get
    the shares that Hyperband gives them.

    Args:
        max_steps: a job that records this budget is complete and ends.
        min_steps: the first rung.
        reduction_factor: one of this many jobs continues at each rung; above 1.
        brackets: how many brackets, from bracket 0 on; None for all.
        epsilon: how far below the best share an objective may be.

    >>> stopper = HyperbandStopper(max_steps=27, reduction_factor=3)
    >>> [round(share, 3) for share in stopper.shares]
    [0.551, 0.245, 0.122, 0.082]
    >>> [stopper.bracket_of(number) for number in range(8)]
    [0, 1, 0, 2, 0, 0, 1, 0]
    """

    def __init__(
        self,
        max_steps: float,
        min_steps: float = 1,
        reduction_factor: float = 3,
        brackets: int | None = None,
        epsilon: float = 1e-10,
    ) -> None:
        first = SuccessiveHalvingStopper(max_steps, min_steps, reduction_factor, epsilon=epsilon)
        count = first.num_rungs + 1  # in the last one no job is compared
        if brackets is not None and check_number("brackets", brackets, 1) > count:
            raise BadArgument(
                f"brackets is {brackets!r}; from {min_steps!r} to {max_steps!r} steps, with the reduction factor "
                f"{reduction_factor!r}, there are {count}."
            )
        self._brackets = [first]
        for late in range(1, count if brackets is None else brackets):
            self._brackets.append(
                SuccessiveHalvingStopper(max_steps, min_steps, reduction_factor, late, epsilon=epsilon)
            )
        self.shares = shares(count, len(self._brackets), reduction_factor)
        """The share of the jobs that each bracket gets."""
        self._own = self._brackets[0].for_job(0)

    def bracket_of(self, number: int) -> int:
        """Return the bracket of the job with this number."""
        return round_robin(number, self.shares)

    def for_job(self, number: int, configuration: dict[str, Any] | None = None) -> SuccessiveHalvingStopper:
        """A stopper for one job, which shares the state of its bracket."""
        return self._brackets[self.bracket_of(number)].for_job(number, configuration)

    # Used as it is, it stands for one job of bracket 0.

    def observe(self, budget: float, objective: Any) -> None:
        self._own.observe(budget, objective)

    def stop(self) -> bool:
        return self._own.stop()

    @property
    def objective(self) -> Any:
        return self._own.objective

    @property
    def is_complete(self) -> bool:  # type: ignore[override]
        return self._own.is_complete
