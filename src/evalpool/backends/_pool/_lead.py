"""Decides which thread does the I/O of a pool: a caller that waits for results, or else the I/O thread.

If the I/O thread reads a result, the search gets it after one more switch of threads, which costs more than all else
that is done for a short job. So a caller that waits in `gather` *leads*: it reads the workers' channels itself. When it
stops waiting, for example to compute the next proposal, jobs must go on. So it sets a timer, and the I/O thread takes
over if no caller leads when the timer expires. This is the leader/followers pattern (D. C. Schmidt et al.,
"Leader/Followers", PLoP 2000). Because of the timer, short absences of the caller cost nothing.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from evalpool._clock import monotonic
from evalpool.backends._pool._timer import Timer

__all__ = ["Lead"]

ABSENCE = 0.001
"""The least seconds during which no thread reads from the workers after a caller has left; at most, it is twice as
long. Meanwhile workers have `PREFETCH` seconds of work in flight. A longer think time costs one switch of threads."""


class Lead:
    """The right to do the I/O. It passes between the I/O thread and the callers that wait.

    Methods of the first part are called by the I/O thread, those of the second part by callers.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake  # wakes the thread that does the I/O now
        self._right = threading.Lock()  # held by the thread that does the I/O
        self._leading = threading.Lock()  # held by the caller that leads or is about to
        self._following = False  # whether the I/O thread has the right
        self.wanted = False  # whether a caller wants to lead, so that the I/O thread must hand over the right
        self.leader: int | None = None  # the id of the thread of the caller that leads
        self._armed_until = 0.0
        self._timer: Timer | None = None

    def open(self) -> None:
        """Let callers lead from now on, if this system has timers."""
        with contextlib.suppress(OSError):
            self._timer = Timer()

    def is_elsewhere(self) -> bool:
        """Whether another thread than this one does the I/O now."""
        return self._following or self.leader not in (None, threading.get_ident())

    # The I/O thread.

    def follow(self) -> None:
        """Wait until no caller leads, and take the right. Returns at once if the I/O thread has it already."""
        while not self._following:
            self._following = self._right.acquire(blocking=False)
            if not self._following:
                assert self._timer is not None
                self._timer.wait()

    def hand_over(self) -> None:
        """Give the right to the caller that wants it."""
        self._following = False
        self._right.release()
        if self._timer is not None:
            self._timer.wait()

    def give_up(self) -> None:
        """Release the right when the I/O thread ends."""
        if self._following:
            self._following = False
            self._right.release()

    # A caller.

    def take(self) -> bool:
        """Take the right. Returns False if another caller has it, or if there is no timer."""
        if self._timer is None or not self._leading.acquire(blocking=False):
            return False
        self.wanted = True
        if not self._right.acquire(blocking=False):
            self._wake()
            self._right.acquire()
        self.leader = threading.get_ident()
        return True

    def is_here(self) -> bool:
        """Whether the thread that asks leads."""
        return self.leader == threading.get_ident()

    def give_back_if_leading(self) -> None:
        """Call `give_back` if this thread leads."""
        if self.is_here():
            self.give_back()

    def give_back(self) -> None:
        """Stop leading. The I/O thread takes over after `ABSENCE`, unless a caller leads again by then."""
        self.leader = None
        self.wanted = False
        self._right.release()
        due = monotonic() + ABSENCE
        if due > self._armed_until:
            # For twice as long, so that a caller that leads again and again sets the timer rarely, and it does not
            # expire.
            assert self._timer is not None
            self._armed_until = due + ABSENCE
            self._timer.arm(2 * ABSENCE)
        self._leading.release()

    def close(self) -> None:
        """Close the timer. Called by the I/O thread when it ends."""
        if self._timer is not None:
            self._timer.close()
