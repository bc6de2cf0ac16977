"""Where finished jobs wait for whoever submitted them.

`gather` empties the evaluator's own inbox; each `as_completed` has one for itself, so that neither takes
the other's jobs and nobody searches through them. An inbox has no lock: the evaluator's guards it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["Inbox"]

NOBODY = 1 << 62
"""More jobs than anybody waits for."""


class Inbox:
    """The finished jobs of one consumer, and who waits for how many of them."""

    __slots__ = ("done", "outstanding", "waiting", "want", "watchers")

    def __init__(self) -> None:
        self.done: deque[Job[Any]] = deque()
        self.outstanding = 0  # submitted and not yet given back
        self.waiting: list[int] = []  # sizes that threads wait for
        self.want = NOBODY  # the smallest of them: a report wakes nobody before
        self.watchers: list[Callable[[], None]] = []  # event loops that wait; called at the next report

    def needed(self, size: int) -> int:
        """How many jobs a gather of `size` still waits for: never more than there are."""
        return size if size < self.outstanding else self.outstanding

    def enter(self, size: int) -> None:
        """A thread begins to wait for `size` jobs."""
        self.waiting.append(size)
        self._update()

    def leave(self, size: int) -> None:
        """It has stopped waiting."""
        self.waiting.remove(size)
        self._update()

    def _update(self) -> None:
        self.want = min(self.needed(min(self.waiting)), NOBODY) if self.waiting else NOBODY

    def take(self) -> list[Job[Any]]:
        """Give back all that is done."""
        jobs = list(self.done)
        self.done.clear()
        self.outstanding -= len(jobs)
        if self.waiting:
            self._update()
        return jobs

    def put_back(self, jobs: list[Job[Any]]) -> None:
        """Undo `take`, when the caller was interrupted before it had the jobs."""
        self.done.extendleft(reversed(jobs))
        self.outstanding += len(jobs)
