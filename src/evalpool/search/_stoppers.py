"""Ends evaluations early that will probably not become good, from what they and others have recorded.

A run-function that works in steps records its objective after each, and asks whether to stop::

    def run(job):
        for epoch in range(1, 51):
            ...
            job.record(epoch, accuracy)
            if job.stopped():
                break
        return job.objective

The evaluator is given one stopper for all jobs, ``stopper=MedianStopper(max_steps=50)``. It lives in the
evaluator's process and gets the records in the order in which they arrive. What the jobs share is in one object behind
one lock; `for_job` gives each job its own view of it.

Sources: the median rule is that of D. Golovin et al., "Google Vizier: A Service for Black-Box Optimization" (KDD
2017), section 3.2; successive halving without waiting is ASHA of L. Li et al., "A System for Massively Parallel
Hyperparameter Tuning" (MLSys 2020, arXiv 1810.05934), in the form that stops instead of pausing.
"""

from __future__ import annotations

import abc
import copy
import heapq
import math
import threading
from typing import Any, TypeVar

from evalpool._checks import check_number, check_real, is_number
from evalpool.errors import BadArgument
from evalpool.search._rungs import SAME, rungs_below, threshold

__all__ = ["MedianStopper", "Stopper", "SuccessiveHalvingStopper"]

Self = TypeVar("Self", bound="SharedStopper")


class Stopper(abc.ABC):
    """Decides when one job ends. Each job has its own copy of the one that the evaluator was given.

    Called in the evaluator's process, from any of its threads, but one call at a time. Derive from it, or give
    any object with `observe`, `stop` and `objective`.
    """

    objective: Any = None
    """The objective that the job recorded last; None before the first."""

    is_complete: bool = False
    """Whether the job has reached its last step: then an end because of `stop` is not an early one."""

    @abc.abstractmethod
    def observe(self, budget: float, objective: Any) -> None:
        """The job reached `objective` after `budget`; larger is better."""

    @abc.abstractmethod
    def stop(self) -> bool:
        """Whether the job should end; called after each record."""


class SharedStopper(Stopper):
    """A stopper that compares jobs with each other; subclasses decide in `_should_stop`.

    Only records with a finite number as budget and as objective are compared. Budgets that differ by less than a
    billionth are equal: ``3 * 0.1`` reaches 0.3.
    """

    def __init__(self, max_steps: float) -> None:
        self.max_steps = check_real("max_steps", max_steps, above=0)
        self._complete_from = threshold(self.max_steps)
        self._lock = threading.Lock()
        self._completed = _Count()
        self._begin()

    def _begin(self) -> None:
        self.objective = None
        self.is_complete = self._stopped = False

    def for_job(self: Self, number: int, configuration: dict[str, Any] | None = None) -> Self:
        """A stopper for one job, which shares the common state with this one."""
        own = copy.copy(self)
        own._begin()
        return own

    def observe(self, budget: float, objective: Any) -> None:
        self.objective = objective
        if not is_number(budget) or not is_number(objective):
            return
        self.is_complete = self.is_complete or budget >= self._complete_from
        if self._stopped:
            return
        with self._lock:
            if self.is_complete:
                self._completed.value += 1
                self._stopped = True
            else:
                self._stopped = self._should_stop(budget, float(objective))

    def stop(self) -> bool:
        return self._stopped

    @abc.abstractmethod
    def _should_stop(self, budget: float, objective: float) -> bool:
        """Take in a record, and return whether its job should end; called under the lock."""


class MedianStopper(SharedStopper):
    """Ends a job whose best objective is below the median of the others' averages.

    At each budget that is compared, a job's best objective so far is compared with a median over all other jobs that
    reached this budget, running or not: the median of the means of what each had recorded until then. Jobs should
    record at the same budgets. O(log n) per record, in the number of jobs.

    Args:
        max_steps: a job that records this budget is complete and ends.
        min_steps: the first budget at which to compare.
        min_competing: compare only with at least this many other jobs.
        min_fully_completed: stop no job before this many jobs have reached `max_steps`.
        interval_steps: compare once in this many steps; None for each budget that jobs record.
        epsilon: how far below the median an objective may be.

    >>> stopper = MedianStopper(max_steps=10)
    >>> for number, accuracy in enumerate([0.5, 0.9, 0.2]):
    ...     job = stopper.for_job(number)
    ...     job.observe(1, accuracy)
    ...     job.stop()
    False
    False
    True
    """

    def __init__(
        self,
        max_steps: float,
        min_steps: float = 1,
        min_competing: int = 1,
        min_fully_completed: int = 0,
        interval_steps: float | None = 1,
        epsilon: float = 1e-10,
    ) -> None:
        super().__init__(max_steps)
        self._min_steps = check_real("min_steps", min_steps, above=0)
        self._first = threshold(self._min_steps)
        self._interval = None if interval_steps is None else check_real("interval_steps", interval_steps, above=0)
        self._min_competing = check_number("min_competing", min_competing, 1)
        self._min_completed = check_number("min_fully_completed", min_fully_completed, 0)
        self._epsilon = check_real("epsilon", epsilon, least=0)
        self._averages: dict[float, RunningMedian] = {}

    def _begin(self) -> None:
        super()._begin()
        self._level: float = -1
        self._best = -math.inf
        self._sum = 0.0
        self._records = 0

    def _should_stop(self, budget: float, objective: float) -> bool:
        self._best = max(self._best, objective)
        self._sum += objective
        self._records += 1
        level = self._level_of(budget)
        if level <= self._level:
            return False  # before the first comparison, or between two
        self._level = level
        averages = self._averages.setdefault(level, RunningMedian())
        should_stop = (
            len(averages) >= self._min_competing
            and self._completed.value >= self._min_completed
            and self._best < averages.median - self._epsilon
        )
        averages.add(self._sum / self._records)
        return should_stop

    def _level_of(self, budget: float) -> float:
        """At which comparison this is: a number that grows with the budget; below 0 before the first."""
        if self._interval is not None:
            return math.floor((budget - self._min_steps) / self._interval + SAME)  # (0.3 - 0.1) / 0.1 < 2
        return float(f"{float(budget):.12g}") if budget >= self._first else -1  # 0.1 * 3 is 0.3


class SuccessiveHalvingStopper(SharedStopper):
    """Lets only the best ``1 / reduction_factor`` of the jobs continue at each of a few budgets, without waiting.

    These budgets, the rungs, are ``min_steps * reduction_factor**k`` below `max_steps`. A job that reaches a rung is
    compared with all that reached it before; it continues if it belongs to the best share of them. The first to
    arrive always continues. A job that skips rungs is compared at the last of them. O(log n) per
    comparison, in the number of jobs; constant for the other records.

    Args:
        max_steps: a job that records this budget is complete and ends.
        min_steps: the first rung.
        reduction_factor: one of this many jobs continues; above 1.
        min_early_stopping_rate: how many of the lowest rungs are left out.
        min_competing: end no job at a rung that fewer jobs than this reached before.
        min_fully_completed: end no job before this many jobs have reached `max_steps`.
        epsilon: how far below the best share an objective may be.
    """

    def __init__(
        self,
        max_steps: float,
        min_steps: float = 1,
        reduction_factor: float = 3,
        min_early_stopping_rate: int = 0,
        min_competing: int = 0,
        min_fully_completed: int = 0,
        epsilon: float = 1e-10,
    ) -> None:
        super().__init__(max_steps)
        self._min_competing = check_number("min_competing", min_competing, 0)
        self._min_completed = check_number("min_fully_completed", min_fully_completed, 0)
        self._epsilon = check_real("epsilon", epsilon, least=0)
        budget = check_real("min_steps", min_steps, above=0)
        if budget > self.max_steps:
            raise BadArgument(f"min_steps is {min_steps!r}, above max_steps {max_steps!r}; no job could reach it.")
        rungs = rungs_below(budget, self.max_steps, reduction_factor)
        left_out = check_number("min_early_stopping_rate", min_early_stopping_rate, 0)
        # What reaches the rung, and what was recorded there.
        self._rungs = [(threshold(rung), TopShare(reduction_factor)) for rung in rungs[left_out:]]

    @property
    def num_rungs(self) -> int:
        """At how many budgets below `max_steps` jobs are compared."""
        return len(self._rungs)

    def _begin(self) -> None:
        super()._begin()
        self._next = 0  # the next rung

    def _should_stop(self, budget: float, objective: float) -> bool:
        rungs = self._rungs
        if self._next == len(rungs) or budget < rungs[self._next][0]:
            return False
        while self._next < len(rungs) and budget >= rungs[self._next][0]:
            self._next += 1
        share = rungs[self._next - 1][1]
        others = len(share)
        share.add(objective)
        return (
            others >= self._min_competing
            and self._completed.value >= self._min_completed
            and objective < share.worst - self._epsilon
        )


class _Count:
    """A number that several objects share."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class RunningMedian:
    """The median of a growing set of numbers: the lower half in one heap, the upper in another. O(log n)."""

    __slots__ = ("_lower", "_upper")

    def __init__(self) -> None:
        self._lower: list[float] = []  # negated, so that its largest comes first
        self._upper: list[float] = []

    def add(self, value: float) -> None:
        """Add a number."""
        # Through the lower half into the upper one, or the other way round, so that all numbers of the lower half are
        # below those of the upper; the lower one has as many as the upper or one more.
        if len(self._lower) > len(self._upper):
            heapq.heappush(self._upper, -heapq.heappushpop(self._lower, -value))
        else:
            heapq.heappush(self._lower, -heapq.heappushpop(self._upper, value))

    def __len__(self) -> int:
        return len(self._lower) + len(self._upper)

    @property
    def median(self) -> float:
        """The middle number, or the mean of the two in the middle; there must be at least one."""
        if len(self._lower) > len(self._upper):
            return -self._lower[0]
        return (self._upper[0] - self._lower[0]) / 2


class TopShare:
    """The largest ``max(1, n // factor)`` of a growing set of n numbers. O(log n)."""

    __slots__ = ("_factor", "_rest", "_top")

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._top: list[float] = []
        self._rest: list[float] = []  # negated, so that its largest comes first

    def add(self, value: float) -> None:
        """Add a number."""
        heapq.heappush(self._rest, -heapq.heappushpop(self._top, value))
        if len(self._top) < max(1, int(len(self) // self._factor)):
            heapq.heappush(self._top, -heapq.heappop(self._rest))

    def __len__(self) -> int:
        return len(self._top) + len(self._rest)

    @property
    def worst(self) -> float:
        """The smallest number of the share; there must be at least one."""
        return self._top[0]
