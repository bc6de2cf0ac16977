"""Who does the supervisor's I/O: the thread that waits for results, if there is one, else the supervisor's own.

A result that is read by the I/O thread costs a second switch of threads until the search has it, and the
switch is dearer than all else that is done for a short job. So a caller that waits in `gather` *leads*: it
reads the workers' channels itself. When it goes away to think, work must go on: then it arms a timer, and the
I/O thread takes over if the caller has not come back by then. The idea is the leader/followers pattern (D. C.
Schmidt et al., "Leader/Followers", PLoP 2000); the timer is what makes short absences free.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from evalpool._clock import monotonic
from evalpool.backends._pool._timer import Timer

__all__ = ["Lead"]

ABSENCE = 0.001
"""Seconds that the workers may be left alone, at the least; at the most they are twice as long, and have `PREFETCH`
seconds of work in flight. A search that thinks for longer pays one switch of threads."""


class Lead:
    """The right to do the I/O, passed between one I/O thread and the callers that wait."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake  # the thread that does the I/O now
        self._right = threading.Lock()
        self._leading = threading.Lock()
        self._following = False  # the I/O thread has the right
        self.wanted = False  # a caller wants to lead: the I/O thread hands over
        self.leader: int | None = None
        self._armed_until = 0.0
        try:
            self._timer: Timer | None = Timer()
        except OSError:
            self._timer = None

    def is_elsewhere(self) -> bool:
        """Does another thread than this one do the I/O now?"""
        return self._following or self.leader not in (None, threading.get_ident())

    # The I/O thread.

    def follow(self) -> None:
        """Wait until no caller leads; then the I/O thread has the right. At once if it has it."""
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
        """The I/O thread ends."""
        if self._following:
            self._following = False
            self._right.release()

    # A caller.

    def take(self) -> bool:
        """Get the right; False if another caller has it, or this system cannot pass it on."""
        if self._timer is None or not self._leading.acquire(blocking=False):
            return False
        self.wanted = True
        if not self._right.acquire(blocking=False):
            self._wake()
            self._right.acquire()
        self.leader = threading.get_ident()
        return True

    def give_back_if_leading(self) -> None:
        """As `give_back`, in a thread that may not lead (any more)."""
        if self.leader == threading.get_ident():
            self.give_back()

    def give_back(self) -> None:
        """Go away: the I/O thread takes over after `ABSENCE`, unless a caller leads again by then."""
        self.leader = None
        self.wanted = False
        self._right.release()
        due = monotonic() + ABSENCE
        if due > self._armed_until:
            # For twice as long, so that one who comes and goes arms it once in a while, and it never wakes anybody.
            assert self._timer is not None
            self._armed_until = due + ABSENCE
            self._timer.arm(2 * ABSENCE)
        self._leading.release()

    def close(self) -> None:
        """Called by the I/O thread at its end."""
        if self._timer is not None:
            self._timer.close()
