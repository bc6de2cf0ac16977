"""The inbox, where finished jobs wait for the caller that submitted them.

`gather` empties the evaluator's own inbox; each `as_completed` has an inbox of its own, so that neither takes
the other's jobs and neither has to search for its own. An inbox has no lock: the evaluator's lock guards it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["Inbox"]

NOBODY = 1 << 62
"""More jobs than any thread waits for."""


class Inbox:
    """The finished jobs of one consumer, and how many of them its threads wait for."""

    __slots__ = ("done", "outstanding", "waiting", "want", "watchers")

    def __init__(self) -> None:
        self.done: deque[Job[Any]] = deque()
        self.outstanding = 0  # submitted and not yet returned
        self.waiting: list[int] = []  # sizes that threads wait for
        self.want = NOBODY  # the smallest of them: with fewer jobs a report wakes no thread
        self.watchers: list[Callable[[], None]] = []  # event loops that wait; called at the next report

    def needed(self, size: int) -> int:
        """How many jobs a gather of `size` still waits for: never more than there are."""
        return size if size < self.outstanding else self.outstanding

    def enter(self, size: int) -> None:
        """Note that a thread begins to wait for `size` jobs."""
        self.waiting.append(size)
        needed = size if size < self.outstanding else self.outstanding
        if needed < self.want:
            self.want = needed

    def leave(self, size: int) -> None:
        """Note that a thread has stopped waiting for `size` jobs."""
        self.waiting.remove(size)
        if self.waiting:
            self._update()
        else:
            self.want = NOBODY

    def _update(self) -> None:
        self.want = self.needed(min(self.waiting))

    def wake_watchers(self) -> None:
        """Call the watchers."""
        for wake in list(self.watchers):
            try:
                wake()
            except RuntimeError:  # the event loop was closed: no task waits there any more
                self.watchers.remove(wake)

    def take(self) -> list[Job[Any]]:
        """Remove and return all finished jobs."""
        jobs = list(self.done)
        self.done.clear()
        self.outstanding -= len(jobs)
        if self.waiting:
            self._update()
        return jobs

    def put_back(self, jobs: list[Job[Any]]) -> None:
        """Undo `take`, because the caller was interrupted before it had the jobs."""
        self.done.extendleft(reversed(jobs))
        self.outstanding += len(jobs)
