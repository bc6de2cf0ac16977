"""The calls of a simulated objective that wait for a reply, and for how long they have waited."""

from __future__ import annotations

import math
from collections.abc import Callable, Container

from evalpool._clock import monotonic
from evalpool._log import get_logger
from evalpool.errors import WaitedTooLong
from evalpool.simulation._caller import Call, Reply
from evalpool.simulation._run import RunSettings
from evalpool.simulation._turns import CallerKernel

__all__ = ["WaitingCalls", "shortest_wait"]

logger = get_logger()

WARN_AFTER = 10.0
"""Seconds that a call waits before a warning says which callers it waits for, because it might wait for ever."""


def shortest_wait(settings: RunSettings) -> float:
    """Return how many seconds after it was added the deadline of a call may be, at least."""
    return min(settings.max_waiting_time, WARN_AFTER)


class WaitingCalls:
    """The calls that wait, by job, the oldest first. Under the coordinator's lock."""

    __slots__ = ("_settings", "_warned", "calls", "wake_at")

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._warned = False
        self.calls: dict[int, Call] = {}
        self.wake_at = math.inf  # when a slow caller may be deferred

    def add(self, job: int, call: Call) -> None:
        """Add a call that waits from now on."""
        call.waits_since = monotonic()
        self.calls[job] = call

    def answer(self, job: int, call: Call, reply: Reply) -> None:
        """Reply to the call, if it waits."""
        if self.calls.pop(job, None) is not None:
            call.waits_since = None
            if call.caller is not None:
                call.caller.deliver(reply)

    def let_pass_at(self, moment: float) -> None:
        """Time alone lets somebody pass at this moment of the monotonic clock: one of the callers is to look then."""
        self.wake_at = moment
        for call in self.calls.values():
            if call.caller is not None:
                call.caller.wake()
                break

    def let_pass(
        self,
        kernel: CallerKernel,
        called: Container[int],
        since: Callable[[int], float | None],
        on_change: Callable[[], None],
    ) -> bool:
        """Defer the caller that all wait for, if its decision lasts beyond the end of the next job; whether it was.

        Args:
            kernel: the coordinator's.
            called: the jobs whose callers have decided.
            since: returns since when the caller of a turn decides, or None.
            on_change: called if there is a new `deadline`.
        """
        self.wake_at = math.inf
        blocker = kernel.blocker()
        if blocker is None or blocker[1] in called:
            return False
        end, job = blocker
        began = since(job)
        if began is None:
            return False
        now = monotonic()
        bound = kernel.idle_since(kernel.worker_of(job)) + (now - began)
        if bound > end:
            kernel.defer(job, bound)
            return True
        self.let_pass_at(now + (end - bound) + 1e-6)
        on_change()
        return False

    def deadline(self) -> float:
        """Return when to `look` next, by the monotonic clock; infinity for never."""
        for call in self.calls.values():
            assert call.waits_since is not None
            longest = self._settings.max_waiting_time
            if not self._warned:
                longest = min(longest, WARN_AFTER)
            return min(self.wake_at, call.waits_since + longest)  # the oldest waits longest
        return self.wake_at

    def look(self, now: float, awaited: Callable[[float], str]) -> WaitedTooLong | None:
        """Warn once if the oldest call has waited long; return an error if it has waited too long.

        Args:
            now: by the monotonic clock.
            awaited: returns a text that says which callers are waited for.
        """
        call = next(iter(self.calls.values()), None)
        if call is None or call.waits_since is None:
            return None
        waited = now - call.waits_since
        settings = self._settings
        if waited >= settings.max_waiting_time:
            return WaitedTooLong(
                f"A call has waited for {waited:.1f} s, longer than max_waiting_time="
                f"{settings.max_waiting_time:g} s: {awaited(now)}. There must be n_workers="
                f"{settings.n_workers} callers, and each must continue to call until it gets the sentinel."
            )
        if waited >= WARN_AFTER and not self._warned:
            self._warned = True
            logger.warning(
                "A call of a simulated objective has waited for %.0f s: %s. If that does not change, it waits for "
                "ever. Set max_waiting_time to make calls give up.",
                waited,
                awaited(now),
            )
        return None
