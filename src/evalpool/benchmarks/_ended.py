"""What a result of `simulate` does not say of evaluations that can be stopped or run again."""

from __future__ import annotations

from evalpool.callbacks._base import Callback
from evalpool.jobs._job import Job

__all__ = ["Ended"]


class Ended(Callback):
    """A callback that notes how evaluations ended.

    Args:
        tells_failures: whether failures need not be logged.

    Attributes:
        early: the numbers of those that a stopper ended: what they reached is never the best.
        attempts: by number, how many attempts each had.
    """

    def __init__(self, *, tells_failures: bool = False) -> None:
        self.tells_failures = tells_failures
        self.early: set[int] = set()
        self.attempts: dict[int, int] = {}

    def on_done(self, job: Job[object]) -> None:
        self.attempts[job.number] = job.attempts
        if job.stopped_early:
            self.early.add(job.number)
