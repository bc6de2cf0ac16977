"""The time in which jobs end: the clock's, or a simulated one."""

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

__all__ = ["EvaluatorAccess", "RealTime", "Timeline", "Times"]


class EvaluatorAccess(NamedTuple):
    """What a timeline may use of the evaluator whose jobs it orders.

    Attributes:
        name: of the evaluator's class, for messages.
        core: runs jobs: `queue`, `deliver`, `put`, under its `lock`; `stops` ends running jobs.
        resources: what is lent to jobs, or None. The timeline lends it, in its own time.
        wait: ``wait(inbox, size, deadline)``, until the backend has put `size` jobs into an inbox.
        give_back: takes the jobs that were delivered for `gather`, records them and calls the callbacks; in the
            caller's thread.
        watching: must be told of starts and records at their simulated time.
    """

    name: str
    core: Core
    resources: Resources | None
    wait: Callable[[Inbox, int, float | None], None]
    give_back: Callable[[], list[Job[Any]]]
    watching: Watching


class Times(Protocol):
    """Tells the time, and the times of jobs. Any thread."""

    def now(self) -> float:
        """Return the current time: seconds since the search's start."""

    def facts(self, job: Job[Any]) -> dict[str, Any] | None:
        """Return a job's metadata besides its timestamps and worker; None if there are none."""

    def timestamps(self, job: Job[Any]) -> dict[str, float | None]:
        """Return the four timestamps of a job; see `Job.metadata`."""


class Timeline(Times, Protocol):
    """A simulated time. Without one, time is real, and costs no call.

    Times are seconds since the search's start. Methods take `lock` themselves. They are called without the core's lock
    unless they say otherwise.
    """

    can_suspend: bool
    """Whether jobs can be left to be resumed."""
    may_await: bool
    """Whether `gather` may return a job later because another program has claimed it."""
    num_workers: int
    """How many jobs run at the same time, in this time."""
    timeout: float | None
    """The time budget in seconds, or None."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Lets one caller at a time submit, wait or stop jobs. Reentrant."""

    def attach(self, access: EvaluatorAccess) -> None:
        """Connect to the evaluator; once, before any other call."""

    def check(self, configurations: list[dict[str, Any]]) -> None:
        """Raise `BadArgument` if one cannot be submitted; then none is submitted."""

    def accept(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        """Take new jobs, which are recorded already; their results go to `inbox`. Under `lock`."""

    def accept_last_chances(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        """As `accept`, of jobs of which each runs while nothing else does."""

    def has(self, job: Job[Any]) -> bool:
        """Whether this job was accepted and is not delivered yet."""

    def running_jobs(self) -> list[Job[Any]]:
        """Return the jobs that run now, in this time; any thread, without `lock`."""

    def ended(self, job: Job[Any], outcome: Outcome) -> None:
        """Take a job that the backend has ended; `Core.deliver` it at its simulated end. Under the core's lock."""

    def recorded(self, number: int, budget: float, objective: Any, runtime: Any = None) -> bool:
        """Take an intermediate result of job `number`; return whether it shall stop. Any thread.

        Args:
            runtime: from scratch up to this result, as the job declared it; None if it did not.
        """

    def wait(self, inbox: Inbox, size: int, timeout: float | None) -> None:
        """Wait until `inbox` has `size` jobs, or all outstanding ones. A `timeout` of 0: only jobs that end now."""

    def set_budget(self, seconds: float | None, suspends: bool) -> None:
        """Begin a time budget, or remove it; see `StopControl.set_budget`."""

    def time_left(self) -> float | None:
        """Return the seconds left of the time budget; None without one."""

    def cancel(self, jobs: list[Job[Any]]) -> int:
        """End these jobs now; return how many had not ended."""

    def close(self) -> list[Job[Any]]:
        """Deliver all jobs as CANCELLED, and return them. From now on no job ends by itself."""


class RealTime:
    """The time of the clock.

    Args:
        origin: the search's start, by `_clock.monotonic`.
        describe: makes metadata of the resources that a job was lent.
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
