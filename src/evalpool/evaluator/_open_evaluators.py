"""The evaluators that are open in this process, and what happens to all of them at its end, at a signal, at a fork."""

from __future__ import annotations

import atexit
import weakref
from typing import TYPE_CHECKING

from evalpool._fork import Order, at_fork
from evalpool._interrupts import when_told_to_end
from evalpool._log import get_logger

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator

__all__ = ["close_all", "open_evaluators", "suspend_all"]

logger = get_logger()

open_evaluators: weakref.WeakSet[Evaluator] = weakref.WeakSet()
"""The evaluators that are open in this process."""


@when_told_to_end
def suspend_all() -> None:
    """Make every open evaluator leave its unfinished jobs to be resumed. Called in signal handlers."""
    while True:
        try:
            evaluators = list(open_evaluators)
        except RuntimeError:  # another thread opened one meanwhile
            continue
        break
    for evaluator in evaluators:
        evaluator._suspend_on_close()


def _leave_to_the_parent() -> None:
    """In a forked child: the evaluators are the parent's. The child uses, records and ends nothing of them."""
    for evaluator in list(open_evaluators):
        evaluator._after_fork()
    open_evaluators.clear()


at_fork(Order.CORE, _leave_to_the_parent)


@atexit.register
def close_all() -> None:
    """Close all open evaluators at the interpreter's end, so that no worker is left."""
    for evaluator in list(open_evaluators):
        try:
            evaluator.close()
        except Exception:
            logger.exception("%r could not be closed at exit.", evaluator)
