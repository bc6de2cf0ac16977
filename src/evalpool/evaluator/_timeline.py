"""Whose time jobs end in: that of the clock, or a simulated one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from evalpool.evaluator._core import Core
    from evalpool.evaluator._scheduler import Resources
    from evalpool.jobs._inbox import Inbox
    from evalpool.jobs._job import Job
    from evalpool.outcomes import Outcome, Worker

__all__ = ["Timeline", "Underneath"]


class Underneath(NamedTuple):
    """What a timeline may use of the evaluator whose jobs it orders.

    Attributes:
        name: of the evaluator's class, for messages.
        core: runs jobs: `queue`, `deliver`, `put`, under its `lock`; `stops` ends what runs.
        resources: what jobs are lent, or None. The timeline lends it, in its own time.
        wait: ``wait(inbox, size, deadline)``: until the backend has given so many jobs to an inbox.
        give_back: takes the jobs that were delivered for `gather`, records them and calls the callbacks; in the
            caller's thread.
        observe: ``observe(job, budget, objective)``: shows a record to the stopper, the callbacks and the storage;
            does the stopper end the job?
        shows_records: does any of these look at records?
        note_start: ``note_start(job, start, attempt, worker)``: tells the callbacks and the storage.
        notes_starts: does any of these look at starts?
    """

    name: str
    core: Core
    resources: Resources | None
    wait: Callable[[Inbox, int, float | None], None]
    give_back: Callable[[], list[Job[Any]]]
    observe: Callable[[Job[Any], float, Any], bool]
    shows_records: Callable[[], bool]
    note_start: Callable[[Job[Any], float, int, Worker | None], None]
    notes_starts: Callable[[], bool]


class Timeline(Protocol):
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

    def has(self, job: Job[Any]) -> bool:
        """Was this job accepted, and is it not delivered yet?"""

    def ended(self, job: Job[Any], outcome: Outcome) -> None:
        """The backend has ended a job; under the core's lock. `Core.deliver` gives it to its caller, in time."""

    def recorded(self, number: int, budget: float, objective: Any) -> bool:
        """Job `number` recorded an intermediate result; shall it stop? Any thread."""

    def now(self) -> float:
        """The time of what happens now."""

    def facts(self, job: Job[Any]) -> dict[str, Any] | None:
        """What a job's metadata says of it, beside its times and its worker."""

    def timestamps(self, job: Job[Any]) -> dict[str, float | None]:
        """The four timestamps of every job."""

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
