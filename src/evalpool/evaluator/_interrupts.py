"""Where a Ctrl-C may strike: while we wait or run the user's code, and nowhere between.

Python raises KeyboardInterrupt between any two instructions of the main thread: between the reading of a result
and its report, between the taking of a lock and the `with` that would release it. So what must not be torn apart
runs behind a shield: a Ctrl-C is noted there and raised at its end, or where the shield is open.

::

    with Shielded():                 noted
        with Opened():               raised at once: waiting, the user's code
            ...
                                     raised here if one was noted

Other threads pass through: Python's signal handlers run in the main thread only.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C module: `signal.signal` takes ten times as long
import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["Condition", "Opened", "Shielded"]


class _State:
    """Of the main thread's handler of SIGINT."""

    main = threading.main_thread().ident
    raised = False  # our handler stands in for the user's
    noted = False
    previous: Any = None


def _raise() -> None:
    """Take the place of the user's handler, if there is one that does something."""
    previous = _signal.getsignal(signal.SIGINT)
    if callable(previous):
        _State.previous, _State.noted = previous, False
        _signal.signal(signal.SIGINT, _note)
        _State.raised = True


def _lower() -> None:
    """Give the user's handler its place back, and call it for what was noted."""
    _State.raised = False
    _signal.signal(signal.SIGINT, _State.previous)
    if _State.noted:
        _State.noted = False
        _State.previous(signal.SIGINT, None)


def _note(number: int, frame: FrameType | None) -> None:
    _State.noted = True


class Shielded:
    """The context behind the shield. Each remembers how it found things, so nesting needs no bookkeeping."""

    __slots__ = ("_was",)

    def __enter__(self) -> None:
        self._was = _State.raised
        if not self._was and threading.get_ident() == _State.main:
            _raise()

    def __exit__(self, *exception: object) -> None:
        if not self._was and _State.raised and threading.get_ident() == _State.main:
            _lower()


class Opened:
    """The context, within another one, in which the shield is open."""

    __slots__ = ("_was",)

    def __enter__(self) -> None:
        self._was = _State.raised and threading.get_ident() == _State.main
        if self._was:
            try:
                _lower()
            except BaseException:
                _raise()
                raise

    def __exit__(self, *exception: object) -> None:
        if self._was and not _State.raised:
            _raise()


class Condition(threading.Condition):
    """A condition whose `wait` is open to a Ctrl-C only while it really waits."""

    def wait(self, timeout: float | None = None) -> bool:
        """As `threading.Condition.wait`."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters: Any
        self._waiters.append(waiter)
        self.release()
        got = False
        try:
            with Opened():
                got = waiter.acquire(True, -1 if timeout is None else max(0.0, timeout))
        finally:
            self.acquire()
            if not got and waiter in self._waiters:
                self._waiters.remove(waiter)
        return got
