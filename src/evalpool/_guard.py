"""Keeps our threads' loops running when a turn raises an unexpected error.

If the thread died, a caller would wait for ever for the jobs or deadlines that it handles. So each loop of ours runs
under a `Guard`. The guard logs the error, lets the loop's owner repair the state (jobs that are in no queue any more
end as failures with this traceback), and the loop continues. If turn after turn raises, the owner gives up, which ends
all of its jobs.

::

    guard = Guard("The thread that reads workers", repair, give_up)
    guard.loop(turn)                     calls turn() until it returns False

    try:                                 the same, for a loop of another form
        ...
    except Exception as error:
        continues = guard.caught(error)

A thread for a single act needs no guard of that kind, as nothing is repeated: `guarded_act`.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

from evalpool._clock import monotonic
from evalpool._log import get_logger

__all__ = ["Guard", "describe", "guarded_act", "guarded_thread", "start_guarded"]

logger = get_logger()

TOO_MANY = 100
"""How many turns may raise, each within `APART` of the previous one, before the loop is given up."""
APART = 1.0
"""Seconds. Errors with longer pauses do not keep a CPU busy, and the state has been repaired after each."""

Answer = Callable[[BaseException], Any]


class Guard:
    """Keeps one loop running.

    Args:
        name: of the loop, for the log.
        repair: called with the error, in the loop's thread; makes the state consistent again.
        give_up: called once, with the error, if the loop cannot continue; ends everything that waits for it. Without
            it the loop always continues; for turns that are independent of each other.
    """

    def __init__(self, name: str, repair: Answer | None = None, give_up: Answer | None = None) -> None:
        self._name, self._repair, self._give_up = name, repair, give_up
        self._failures, self._last = 0, 0.0
        self._given_up = False

    def caught(self, error: BaseException) -> bool:
        """Handle an error of a turn; return whether the loop may continue. Raises nothing."""
        if self._given_up:
            return False
        now = monotonic()
        self._failures = self._failures + 1 if now - self._last < APART else 1
        self._last = now
        logger.error("%s met an unexpected error, and continues.", self._name, exc_info=error)
        repaired = self._tried(self._repair, error)
        if self._give_up is None or (repaired and self._failures <= TOO_MANY):
            return True
        logger.error("%s cannot continue after %d such errors in a row.", self._name, self._failures)
        self._given_up = True
        self._tried(self._give_up, error)
        return False

    def _tried(self, answer: Answer | None, error: BaseException) -> bool:
        if answer is not None:
            try:
                answer(error)
            except BaseException as second:
                logger.error("%s could not be repaired.", self._name, exc_info=second)
                return False
        return True

    def loop(self, turn: Callable[[], Any]) -> None:
        """Call `turn` until it returns False, or until the guard gives up."""
        while True:
            try:
                while turn() is not False:
                    pass
                return
            except BaseException as error:  # noqa: BLE001  no caller could catch it in this thread
                if not self.caught(error):
                    return


def guarded_thread(name: str, guard: Guard, turn: Callable[[], Any]) -> threading.Thread:
    """Return a daemon thread that will call `turn` under `guard` until it returns False.

    All our threads are made in this module.
    """
    return threading.Thread(target=guard.loop, args=(turn,), name=name, daemon=True)


def start_guarded(name: str, guard: Guard, turn: Callable[[], Any]) -> threading.Thread:
    """Start and return a `guarded_thread`."""
    thread = guarded_thread(name, guard, turn)
    thread.start()
    return thread


def guarded_act(name: str, title: str, act: Callable[[], Any]) -> threading.Thread:
    """Return a daemon thread that will call `act` once. An error that it raises is logged.

    Args:
        title: of the thread, for the log.
    """

    def once() -> None:
        try:
            act()
        except BaseException as error:  # no caller could catch it in this thread
            logger.error("%s met an unexpected error, and ends.", title, exc_info=error)

    return threading.Thread(target=once, name=name, daemon=True)


def describe(error: BaseException) -> str:
    """Return the traceback of an error as text, even if the error's own methods raise."""
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception as second:  # noqa: BLE001  an exception that cannot be printed is still reported
        return f"{type(error).__qualname__} (it could not be printed: {type(second).__name__})"
