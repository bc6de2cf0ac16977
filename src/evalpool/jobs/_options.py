"""What a job is given beside its configuration: `Submission`, as its author writes it, and `JobOptions`, as it is kept.

::

    Submission({"x": 1}, priority=2, tags=["a"])  --submit-->  job.options, record.options: JobOptions(2, None, ("a",))

A job that was submitted as a plain dict has `NO_OPTIONS`, one object for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalpool._checks import is_real, is_whole, to_float
from evalpool._text import shown
from evalpool.errors import BadArgument

__all__ = ["NO_OPTIONS", "OPTIONS", "JobOptions", "Submission", "submission"]

OPTIONS = ("priority", "job_timeout", "tags")
"""Their names, in the order in which they are shown."""

LARGEST_PRIORITY = 2**53
"""As far as every store, and JSON everywhere, keeps whole numbers exactly."""

LONGEST_TIMEOUT = 1e15
"""Seconds; thirty million years."""


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What a job was given beside its configuration; immutable.

    Attributes:
        priority: of jobs that wait, those of the highest priority start first.
        job_timeout: seconds that this job may run; 0.0 for no limit; None for that of its evaluator.
        tags: its author's own marks, in their order, each once.
    """

    priority: int = 0
    job_timeout: float | None = None
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, chosen: Mapping[str, Any] | None) -> JobOptions:
        """What `chosen` gave, of a record whose form was checked; names of a later version count for nothing."""
        if not chosen:
            return NO_OPTIONS
        known = {name: chosen[name] for name in OPTIONS if chosen.get(name) is not None}
        return cls(**{**known, "tags": tuple(known.get("tags", ()))})

    def chosen(self) -> dict[str, Any]:
        """Those that are not the default, as JSON; empty for `NO_OPTIONS`."""
        found: dict[str, Any] = {}
        if self.priority:
            found["priority"] = self.priority
        if self.job_timeout is not None:
            found["job_timeout"] = self.job_timeout
        if self.tags:
            found["tags"] = list(self.tags)
        return found

    def is_tagged(self, tags: Iterable[str]) -> bool:
        """Has it all of these tags? Everything has all of none."""
        return all(tag in self.tags for tag in tags)

    def limit(self, default: float | None) -> float | None:
        """The seconds that a job may run whose evaluator allows `default`; None for no limit."""
        return default if self.job_timeout is None else self.job_timeout or None


NO_OPTIONS = JobOptions()


@dataclass(frozen=True, slots=True)
class Submission:
    """A configuration with options of its job, in the place of a dict: `Evaluator.submit` takes both. Immutable.

    So does all else that takes configurations: `Evaluator.as_completed`, and what an optimiser's `ask` returns.

    >>> from evalpool import Evaluator, Submission
    >>> with Evaluator.create(lambda job: job["x"]) as evaluator:
    ...     jobs = evaluator.submit([{"x": 1}, Submission({"x": 2}, job_timeout=60, tags=["check"])])
    ...     [(job.objective, job.options.tags) for job in evaluator.gather()]
    [(1, ()), (2, ('check',))]

    Args:
        configuration: a dict with text keys; it is copied when it is submitted.
        priority: of jobs that wait, those of the highest priority start first; of equals, those that are run again,
            then the others in the order of submission. A job that was sent to a worker ahead stays there. It may be
            negative.
        job_timeout: seconds that this job may run, in the place of the evaluator's `job_timeout`; 0 for no limit; None
            for the evaluator's.
        tags: a list of texts by which its author finds it again: kept with its record, shown, and filtered by.

    Raises:
        BadArgument: an argument has a wrong type or value.
    """

    configuration: dict[str, Any]
    priority: int = 0
    job_timeout: float | None = None
    tags: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.configuration, dict):
            raise BadArgument(
                f"A submission's configuration is {shown(self.configuration)} of type "
                f"{type(self.configuration).__name__}; give a dict: Submission({{'x': 1}}, priority=1)."
            )
        for name, value in zip(OPTIONS, _checked(self.priority, self.job_timeout, self.tags), strict=True):
            object.__setattr__(self, name, value)

    @property
    def options(self) -> JobOptions:
        """Those of the job that comes of it."""
        options = JobOptions(self.priority, self.job_timeout, tuple(self.tags or ()))
        return NO_OPTIONS if options == NO_OPTIONS else options


def submission(configuration: dict[str, Any], options: JobOptions) -> Submission | dict[str, Any]:
    """What to submit for a configuration with these options: without any it is itself."""
    if options is NO_OPTIONS:
        return configuration
    return Submission(configuration, options.priority, options.job_timeout, options.tags)


def _checked(priority: Any, timeout: Any, tags: Any) -> tuple[int, float | None, tuple[str, ...]]:
    if not is_whole(priority) or abs(priority) > LARGEST_PRIORITY:
        raise BadArgument(
            f"priority is {shown(priority)} of type {type(priority).__name__}; give a whole number, such as 1 to go "
            "before the jobs of priority 0."
        )
    if timeout is not None:
        seconds = to_float(timeout) if is_real(timeout) else math.nan
        if math.isnan(seconds) or seconds < 0:
            raise BadArgument(
                f"job_timeout is {shown(timeout)}; give seconds above 0, 0 for no limit, or None for the evaluator's."
            )
        timeout = 0.0 if seconds > LONGEST_TIMEOUT else abs(seconds)  # -0.0 is 0
    if tags is None:
        tags = ()
    if not isinstance(tags, (list, tuple)):
        raise BadArgument(f"tags is {shown(tags)} of type {type(tags).__name__}; give a list of texts: tags=['warm'].")
    for tag in tags:
        if not isinstance(tag, str) or not tag:
            raise BadArgument(
                f"tags has {shown(tag)} of type {type(tag).__name__}; each tag is a text that is not empty."
            )
    return int(priority), timeout, tuple(dict.fromkeys(map(str, tags)))
