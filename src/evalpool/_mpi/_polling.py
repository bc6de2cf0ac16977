"""Waiting for messages by polling, with growing pauses, because MPI has no event on which a thread can sleep.

A blocking receive uses a whole core in the common implementations, and no other thread can end it. So a wait polls
without pause for as long as the next message of a busy search usually takes. Then it sleeps between polls; the pauses
grow with the wait. So a message is noticed late by a twentieth of the wait, or by `LONGEST`.

If all that may send are on this host, they wake the wait (`_bells`), and it sleeps soon.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable

from evalpool._clock import perf_counter
from evalpool._mpi._bells import Bell

__all__ = ["PollingBackoff"]

SPIN = 0.0005
"""Seconds of polling without a pause: several times the round trip of a short job."""
NEARBY_SPIN = 0.00005
"""The same where senders wake the wait: as long as it takes to fall asleep and to be woken."""
FIRST, LONGEST = 0.00005, 0.002
"""The first and the longest pause after that, in seconds."""


class PollingBackoff:
    """Waits until `look` finds something or `wake` is called. One thread waits at a time.

    Args:
        look: returns whether a message is there; costs about a microsecond.
        busy: whether never to sleep. That uses a whole core, and notices a message a tenth of a millisecond earlier.
        expecting: returns whether any message may come. If not, the wait sleeps until `wake`.
        bell: with it, the senders of all messages wake the wait; None if some of them cannot.
        sending: returns whether messages of this process are being sent, which goes on only while it polls.
    """

    def __init__(
        self,
        look: Callable[[], bool],
        busy: bool,
        expecting: Callable[[], bool] = lambda: True,
        bell: Bell | None = None,
        sending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._look, self._busy, self._expecting = look, busy, expecting
        self._bell, self._sending = bell, sending
        self._called = threading.Event()
        self.dormant = False
        """True while the wait sleeps until `wake`; code that makes a message possible must call it then."""

    def wake(self) -> None:
        """End the wait; from any thread."""
        self._called.set()
        if self._bell is not None:
            self._bell.ring()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, at most `timeout` seconds, or until `wake`; return whether a message is there."""
        look, called, busy = self._look, self._called, self._busy
        if look():
            return True
        began = perf_counter()
        while not called.is_set():
            waited = perf_counter() - began
            if timeout is not None and waited >= timeout:
                break
            rest = None if timeout is None else timeout - waited
            if self._bell is not None and not (busy or self._sending()):
                if waited >= NEARBY_SPIN and self._sleep_by(self._bell, rest):
                    return True
            elif busy or waited < SPIN:
                os.sched_yield()
            else:
                self._sleep(waited, rest)
            if look():
                return True
        called.clear()
        return look()

    def _sleep_by(self, bell: Bell, rest: float | None) -> bool:
        """Sleep until a sender wakes this wait, at most `LONGEST`; return whether a message came before it slept."""
        self.dormant = True
        if not self._expecting():
            self._called.wait(rest)
            self.dormant = False
            return False
        self.dormant = False
        bell.listen()
        try:
            # Who sends after `listen` wakes this wait. Twice, because Open MPI's probe takes messages in after it has
            # looked, so the first look may miss what the second one finds.
            if self._look() or self._look():
                return True
            if not self._called.is_set():
                bell.sleep(math.ceil(1000 * (LONGEST if rest is None else min(LONGEST, rest))))
        finally:
            bell.stop()
        return False

    def _sleep(self, waited: float, rest: float | None) -> None:
        self.dormant = True  # before the question: whoever changes the answer then sees it
        if self._expecting():
            self.dormant = False
            pause = min(max(FIRST, waited / 20), LONGEST)
            rest = pause if rest is None else min(pause, rest)
        self._called.wait(rest)
        self.dormant = False
