"""Whose time jobs end in: that of the clock, or a simulated one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from evalpool.jobs._job import Job
    from evalpool.outcomes import Outcome

__all__ = ["Timeline"]


class Timeline(Protocol):
    """A time of its own. Where there is none, time is real, and costs no call."""

    can_suspend: bool
    """Can jobs be left to be resumed?"""

    def ended(self, job: Job[Any], outcome: Outcome) -> None:
        """The backend has ended a job; under the core's lock. `Core.deliver` gives it to its caller, in time."""
