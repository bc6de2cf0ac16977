"""Whose time jobs end in: that of the clock, or a simulated one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from evalpool._clock import monotonic

if TYPE_CHECKING:
    from evalpool.evaluator._core import Core
    from evalpool.evaluator._scheduler import Resources
    from evalpool.evaluator._watching import Watching
    from evalpool.jobs._inbox import Inbox
    from evalpool.jobs._job import Job
    from evalpool.outcomes import Outcome

__all__ = ["RealTime", "Timeline", "Times", "Underneath"]


class Underneath(NamedTuple):
    """What a timeline may use of the evaluator whose jobs it orders.

    Attributes:
        name: of the evaluator's class, for messages.
        core: runs jobs: `queue`, `deliver`, `put`, under its `lock`; `stops` ends what runs.
        resources: what jobs are lent, or None. The timeline lends it, in its own time.
        wait: ``wait(inbox, size, deadline)``: until the backend has given so many jobs to an inbox.
        give_back: takes the jobs that were delivered for `gather`, records them and calls the callbacks; in the
            caller's thread.
        watching: is told of starts and records, at the moment at which they are to be seen.
    """

    name: str
    core: Core
    resources: Resources | None
    wait: Callable[[Inbox, int, float | None], None]
    give_back: Callable[[], list[Job[Any]]]
    watching: Watching


class Times(Protocol):
    """What jobs say of time. Any thread."""

    def now(self) -> float:
        """The time of what happens now: seconds since the search's start."""

    def facts(self, job: Job[Any]) -> dict[str, Any] | None:
        """What a job's metadata says of it, beside its times and its worker; None if that is nothing."""

    def timestamps(self, job: Job[Any]) -> dict[str, float | None]:
        """The four timestamps of every job; see `Job.metadata`."""


class Timeline(Times, Protocol):
    """A time of its own. Where there is none, time is real, and costs no call.

    Times are seconds since the search's start. Methods take `lock` themselves, and are called without the core's lock
    but where they say so.
    """

    can_suspend: bool
    """Can jobs be left to be resumed?"""
    may_await: bool
    """May a job be given back later than it was asked for, because another program has it?"""
    num_workers: int
    """How many jobs run at the same time, in this time."""
    timeout: float | None
    """The time budget in seconds, or None."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Submitting, waiting and stopping belong to one caller at a time. Reentrant."""

    def attach(self, underneath: Underneath) -> None:
        """Whose jobs these are; once, before any other call."""

    def check(self, configurations: list[dict[str, Any]]) -> None:
        """Raise `BadArgument` for one that cannot be submitted; none has been taken."""

    def accept(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        """New jobs, recorded already, whose consumer waits at `inbox`. Under `lock`."""

    def accept_last_chances(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        """As `accept`, of jobs of which each runs while nothing else does."""

    def has(self, job: Job[Any]) -> bool:
        """Was this job accepted, and is it not delivered yet?"""

    def ended(self, job: Job[Any], outcome: Outcome) -> None:
        """The backend has ended a job; under the core's lock. `Core.deliver` gives it to its caller, in time."""

    def recorded(self, number: int, budget: float, objective: Any) -> bool:
        """Job `number` recorded an intermediate result; shall it stop? Any thread."""

    def wait(self, inbox: Inbox, size: int, timeout: float | None) -> None:
        """Until `inbox` has `size` jobs, or all that are outstanding; with a `timeout` of 0 for what ends now."""

    def set_budget(self, seconds: float | None, suspends: bool) -> None:
        """Begin a time budget, or lift it; see `StopControl.set_budget`."""

    def time_left(self) -> float | None:
        """Seconds left of it; None without one."""

    def cancel(self, jobs: list[Job[Any]]) -> int:
        """End these jobs now; returns how many had not ended."""

    def close(self) -> list[Job[Any]]:
        """No job ends any more by itself: deliver all as CANCELLED, and return them."""


class RealTime:
    """The time of the clock.

    Args:
        origin: the search's start, by `_clock.monotonic`.
        describe: what a job's metadata say of what it was lent.
    """

    def __init__(self, origin: float, describe: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._origin = origin
        self._describe = describe

    def now(self) -> float:
        return monotonic() - self._origin

    def facts(self, job: Job[Any]) -> dict[str, Any] | None:
        return None if job._extra is None else self._describe(job._extra)

    def timestamps(self, job: Job[Any]) -> dict[str, float | None]:
        outcome, origin = job._outcome, self._origin
        start = end = None
        if outcome is not None:
            start = None if outcome.start is None else outcome.start - origin
            end = None if outcome.end is None else outcome.end - origin
        return {
            "timestamp_submit": job._submitted,
            "timestamp_start": start,
            "timestamp_end": end,
            "timestamp_gather": job._gathered,
        }
