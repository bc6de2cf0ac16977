"""What a loop of ours does when a turn of it raises something that nobody foresaw.

A thread that dies of it makes somebody wait for ever: for jobs that it would have reported, for a deadline that it
would have kept. So each loop of ours runs under a `Guard`. The guard says what was raised, lets the loop's owner mend
what the turn may have torn (jobs that are in no queue any more end as failures with this traceback), and the loop goes
on. A loop in which turn after turn raises would do so for ever; then its owner gives up, which ends all of its jobs.

::

    guard = Guard("the thread that hears workers", mend, give_up)
    guard.loop(turn)                     calls turn() until it returns False

    try:                                 the same, where a loop is not of this form
        ...
    except Exception as error:
        go_on = guard.caught(error)
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

from evalpool._clock import monotonic
from evalpool._log import get_logger

__all__ = ["Guard", "describe", "guarded_thread", "start_guarded"]

logger = get_logger()

TOO_MANY = 100
"""Turns that may raise, each within `APART` of the one before, until the loop is given up."""
APART = 1.0
"""Seconds; failures that are further apart do not keep a processor busy, and each has been mended."""

Answer = Callable[[BaseException], Any]


class Guard:
    """Keeps one loop alive.

    Args:
        name: of the loop, as the log is to call it.
        mend: called with what was raised, in the loop's thread: makes whole what the turn has torn.
        give_up: called instead, once, when the loop cannot go on: ends all that waits for it. Without it the loop
            goes on whatever is raised: for turns of which each does something else than the one before.
    """

    def __init__(self, name: str, mend: Answer | None = None, give_up: Answer | None = None) -> None:
        self._name, self._mend, self._give_up = name, mend, give_up
        self._failures, self._last = 0, 0.0
        self._given_up = False

    def caught(self, error: BaseException) -> bool:
        """A turn raised `error`; returns whether the loop may go on. Raises nothing."""
        if self._given_up:
            return False
        now = monotonic()
        self._failures = self._failures + 1 if now - self._last < APART else 1
        self._last = now
        logger.error("%s met an error that it did not expect, and goes on.", self._name, exc_info=error)
        mended = self._tried(self._mend, error)
        if self._give_up is None or (mended and self._failures <= TOO_MANY):
            return True
        logger.error("%s cannot go on after %d such errors in a row.", self._name, self._failures)
        self._given_up = True
        self._tried(self._give_up, error)
        return False

    def _tried(self, answer: Answer | None, error: BaseException) -> bool:
        if answer is not None:
            try:
                answer(error)
            except BaseException as second:
                logger.error("%s could not be mended.", self._name, exc_info=second)
                return False
        return True

    def loop(self, turn: Callable[[], Any]) -> None:
        """Call `turn` until it returns False, or cannot be called any more."""
        while True:
            try:
                while turn() is not False:
                    pass
                return
            except BaseException as error:  # noqa: BLE001  a thread of ours has no caller who could catch it
                if not self.caught(error):
                    return


def guarded_thread(name: str, guard: Guard, turn: Callable[[], Any]) -> threading.Thread:
    """A daemon thread of this name that will go through `turn` under `guard`, until it returns False.

    Every thread of ours is made here.
    """
    return threading.Thread(target=guard.loop, args=(turn,), name=name, daemon=True)


def start_guarded(name: str, guard: Guard, turn: Callable[[], Any]) -> threading.Thread:
    """A `guarded_thread` that is started."""
    thread = guarded_thread(name, guard, turn)
    thread.start()
    return thread


def describe(error: BaseException) -> str:
    """The traceback of an error of our own, as text, also of one whose own methods raise."""
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception as second:  # noqa: BLE001  an exception that cannot be printed is still reported
        return f"{type(error).__qualname__} (it could not be printed: {type(second).__name__})"
