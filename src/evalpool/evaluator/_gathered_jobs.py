"""Gathered jobs as columns: a third of what the job objects take, and made into equal jobs again on demand."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any
from weakref import ref

from evalpool.jobs._job import Job
from evalpool.jobs._options import NO_OPTIONS
from evalpool.outcomes import Outcome

__all__ = ["GatheredJobs"]

_RARE = ("_errors", "_extra", "_seed_number", "_virtual", "_history", "options")
_NO_RARE = (None, None, None, None, None, NO_OPTIONS)
"""Attributes that few jobs have, and their values in all others."""

_values_of = attrgetter("number", "attempts", "_submitted", "_gathered", "_outcome", "args")
_rare_of = attrgetter(*_RARE)


class GatheredJobs:
    """Some jobs of one evaluator that ended and were gathered together.

    The job objects are the caller's. As long as a program holds one, or has set attributes of it before, it is the same
    object that `at` returns. All columns have one value for each job, or one for all of them.

    Args:
        jobs: at least one, with outcomes, and not yet kept elsewhere.
    """

    __slots__ = (
        "_alive", "_attempts", "_begins", "_evaluator", "_gathered", "_job_type", "_names", "_numbers", "_outcomes",
        "_rare", "_search", "_submitted", "_values",
    )  # fmt: skip

    def __init__(self, jobs: Sequence[Job[Any]]) -> None:
        first = jobs[0]
        self._evaluator, self._search, self._job_type = first._evaluator, first._search, first.job_type
        numbers, attempts, submitted, gathered, outcomes, args = zip(*map(_values_of, jobs), strict=True)
        self._numbers, self._attempts = array("q", numbers), _column(attempts)
        self._submitted, self._gathered = array("d", submitted), array("d", gathered)
        self._outcomes = [_column(values) for values in zip(*outcomes, strict=True)]
        rare = list(map(_rare_of, jobs))
        self._rare = None if rare.count(_NO_RARE) == len(rare) else rare
        # Parameters have the same names in most searches, and in those with conditions there are a few sets of names.
        names = tuple(map(tuple, args))
        known = {one: one for one in set(names)}
        self._begins: Sequence[int] | None = None
        self._values: list[Sequence[Any]]
        if len(known) == 1:
            self._names: Sequence[tuple[str, ...]] = names[:1]
            self._values = [_column(values) for values in zip(*map(dict.values, args), strict=True)]
        else:
            self._names = tuple([known[one] for one in names])
            self._begins = array("q", accumulate(map(len, args), initial=0))
            self._values = [tuple(chain.from_iterable(map(dict.values, args)))]
        self._alive: list[Callable[[], Job[Any] | None]] | None = [
            _reference(job) if job.__dict__ else ref(job) for job in jobs
        ]

    def __len__(self) -> int:
        return len(self._numbers)

    def forget_dropped(self) -> None:
        """Keep nothing more of the objects that nobody holds any more."""
        if self._alive is not None and not any(one() is not None for one in self._alive):
            self._alive = None

    def at(self, index: int) -> Job[Any]:
        """Return the job at this place: the same object if a program holds it, else one that is equal to it."""
        if self._alive is not None and (job := self._alive[index]()) is not None:
            return job
        number, submitted = self._numbers[index], self._submitted[index]
        made: Job[Any] = Job(self._evaluator, None, self._search, number, self._args(index), self._job_type, submitted)
        made.attempts, made._gathered = _at(self._attempts, index), self._gathered[index]
        made._outcome = Outcome(*[_at(column, index) for column in self._outcomes])
        made._status = made._outcome.status
        if self._rare is not None:
            for name, value in zip(_RARE, self._rare[index], strict=True):
                if value is not NO_OPTIONS:
                    setattr(made, name, value)
        return made

    def hold(self, index: int, job: Job[Any]) -> None:
        """Return this object, which `at` made, from now on, as long as a program holds it."""
        if self._alive is None:
            self._alive = [_nothing] * len(self)
        self._alive[index] = ref(job)

    def _args(self, index: int) -> dict[str, Any]:
        names = _at(self._names, index)
        if self._begins is None:
            return dict(zip(names, [_at(column, index) for column in self._values], strict=True))
        return dict(zip(names, self._values[0][self._begins[index] : self._begins[index + 1]], strict=True))


class _Kept:
    """In place of a weak reference: keeps a job of which the program has set attributes."""

    __slots__ = ("_job",)

    def __init__(self, job: Job[Any]) -> None:
        self._job = job

    def __call__(self) -> Job[Any]:
        return self._job


def _reference(job: Job[Any]) -> Callable[[], Job[Any] | None]:
    """Return a reference to a job that has attributes beside those of all jobs."""
    return ref(job) if len(job.__dict__) == 1 and job.options is not NO_OPTIONS else _Kept(job)


def _nothing() -> None:
    return None


def _column(values: tuple[Any, ...]) -> Sequence[Any]:
    """Return these values in less memory, with their types; a single one if they are the same object.

    Objects of a program are not compared: it may be slow, or raise, as with arrays.
    """
    first = values[0]
    kinds = set(map(type, values))
    if len(kinds) > 1:
        return values
    kind = type(first)
    if kind is float:
        return array("d", values)
    if kind is int:
        try:
            return values[:1] if values.count(first) == len(values) else array("q", values)
        except OverflowError:  # larger than 64 bits
            return values
    return values[:1] if first is None or len(set(map(id, values))) == 1 else values


def _at(column: Sequence[Any], index: int) -> Any:
    return column[index if len(column) > 1 else 0]
