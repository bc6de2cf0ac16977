"""Where a Ctrl-C may strike: while we wait or run the user's code, and nowhere between.

Python raises KeyboardInterrupt between any two instructions of the main thread: between the reading of a result
and its report, between the taking of a lock and the `with` that would release it. So what must not be interrupted
halfway defers signals: a Ctrl-C is noted there and raised at the end, or where signals are allowed.

::

    with defer_signals():          noted
        with allow_signals():      raised at once: waiting, the user's code
            ...
                                   raised here if one was noted

So may the handler of any other signal raise: SIGALRM that bounds a wait, SIGUSR1 of a batch system. While an evaluator
is open, a `_SignalHandler` stands before each handler of the user's and calls it unless signals are deferred. To
install them for every `defer_signals` instead would cost as much as all else that is done for a job. Other threads
are not concerned: Python's signal handlers run in the main thread only.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C module: `signal.getsignal` takes ten times as long
import functools
import signal
import threading
from collections.abc import Callable
from threading import get_ident
from types import FrameType
from typing import Any

from evalpool._clock import monotonic
from evalpool._fork import Order, at_fork

SLICE = 0.4
"""Seconds of one wait in the system. A signal that comes in the instant before a wait does not interrupt it, and its
handler runs at the wait's end: so a wait ends now and then, which costs some microseconds a second."""

__all__ = [
    "SLICE",
    "Condition",
    "ToldToEnd",
    "allow_signals",
    "defer_signals",
    "end_by_signal",
    "ended_by",
    "from_a_handler",
    "install",
    "keep_installed",
    "replace_handler",
    "uninstall",
    "when_told_to_end",
]


class ToldToEnd(KeyboardInterrupt):
    """A signal other than Ctrl-C's that ends the program as a Ctrl-C would, wherever the main thread is.

    An exception of its own, raised by the handler of that signal: SIGINT may be ignored (a background command of a job
    script, nohup) or have a handler of the user's, and would say something else.
    """


_when_told: list[Callable[[], None]] = []


def when_told_to_end(call: Callable[[], None]) -> Callable[[], None]:
    """Let `call` be made when the program is told to end, by a batch system's signal: a decorator.

    It is called in a signal handler, so it takes no lock and sets plain attributes only.
    """
    _when_told.append(call)
    return call


def end_by_signal(number: int) -> None:
    """The program is told to end: raise `ToldToEnd`, at once, or where signals are allowed next.

    Called by the handler of the signal that says so.
    """
    _state.ended_by = number
    for call in _when_told:
        call()
    if _state.deferring:
        _state.noted.append(functools.partial(_raise, number))
    else:
        _raise(number)


def ended_by() -> int:
    """The last signal that told the program to end; 0: none has."""
    return _state.ended_by


def _raise(number: int) -> None:
    raise ToldToEnd(f"told to end by {signal.Signals(number).name}")


class _MainThread:
    """Of the main thread.

    Its attributes are of an object and not of the class: a class that is written to loses what the interpreter has
    cached of it, and the next calls of `defer_signals`, of which a job has six, take twice as long.
    """

    __slots__ = ("deferring", "ended_by", "main", "noted", "seen", "users")

    def __init__(self) -> None:
        self.main = threading.main_thread().ident
        self.deferring = False
        self.noted: list[Callable[[], None]] = []  # what handlers would have done that came behind it
        self.seen: list[Any] = []  # the handlers of `LOOKED_AT`, when we looked last
        self.users = 0
        self.ended_by = 0  # the last signal that told the program to end


_state = _MainThread()

ALL = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""Those whose handlers may raise, or close an evaluator, amidst the code that they interrupt."""
CRASHES = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS", "SIGSTKFLT"}
LOOKED_AT = [number for number in ALL if number < 32 and getattr(number, "name", "") not in CRASHES]
"""Those of which a new handler is noticed while evaluators are open; of the others, when the first one is opened."""


class _SignalHandler:
    """Stands before one handler of the user's: who puts back what `signal.signal` gave finds that very one beneath."""

    __slots__ = ("theirs",)

    def __init__(self, theirs: Callable[[int, FrameType | None], Any]) -> None:
        self.theirs = theirs

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _state.deferring:
            _state.noted.append(functools.partial(self.theirs, number, None))
        else:
            self.theirs(number, frame)


def _after_fork() -> None:
    """In a forked child the forking thread is the main one, and no evaluator is open."""
    _state.deferring = False
    _state.noted = []
    _state.main = get_ident()
    _state.users = 0


at_fork(Order.INTERRUPTS, _after_fork)


def install() -> bool:
    """Stand before the user's handlers; in the main thread. False elsewhere."""
    if get_ident() != _state.main:
        return False
    _state.users += 1
    _stand_before(ALL)
    return True


def keep_installed() -> None:
    """If a handler was set meanwhile, stand before that one. A look costs half a microsecond."""
    if _state.users <= 0 or get_ident() != _state.main:
        return
    if list(map(_signal.getsignal, LOOKED_AT)) != _state.seen:
        _stand_before(LOOKED_AT)


def _stand_before(numbers: list[signal.Signals]) -> None:
    for number in numbers:
        current = _signal.getsignal(number)
        if callable(current) and type(current) is not _SignalHandler:
            signal.signal(number, _SignalHandler(current))
    _state.seen = list(map(_signal.getsignal, LOOKED_AT))


def uninstall() -> None:
    """An evaluator that installed it is closed; after the last one the user's handlers have their places back."""
    _state.users -= 1
    if _state.users <= 0 and get_ident() == _state.main:
        for number in ALL:
            current = _signal.getsignal(number)
            if type(current) is _SignalHandler:
                signal.signal(number, current.theirs)


def replace_handler(number: int, handler: Any) -> Any:
    """Set the user's handler of a signal, beneath ours if that is there; returns the one before. In the main thread.

    `signal.signal` would return ours then.
    """
    before = signal.signal(number, handler)
    if _state.users > 0:
        _stand_before(ALL)
    return before.theirs if type(before) is _SignalHandler else before


def _deliver() -> None:
    while _state.noted:
        _state.noted.pop(0)()


def from_a_handler(error: BaseException) -> bool:
    """Was this raised by a handler of the user's that ours called, rather than by the code that it interrupted?"""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in (_SignalHandler.__call__.__code__, _deliver.__code__):
            return True
        trace = trace.tb_next
    return False


class defer_signals:
    """A context in which signals are noted, not handled. Nests: each remembers the state that it found."""

    __slots__ = ("_was",)

    def __enter__(self) -> None:
        if _state.deferring or get_ident() != _state.main:
            self._was = True
        else:
            self._was = False
            _state.deferring = True

    def __exit__(self, *exception: object) -> None:
        if not self._was:
            _state.deferring = False
            if _state.noted:
                _deliver()


class allow_signals:
    """A context within `defer_signals` in which handlers of signals are called at once."""

    __slots__ = ("_was",)

    def __enter__(self) -> None:
        self._was = _state.deferring and get_ident() == _state.main
        if self._was:
            _state.deferring = False
            if _state.noted:
                _state.deferring = True
                _deliver()

    def __exit__(self, *exception: object) -> None:
        if self._was:
            _state.deferring = True


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
            end = None if timeout is None else monotonic() + timeout
            with allow_signals():
                while not got:
                    rest = SLICE if end is None else min(SLICE, end - monotonic())
                    got = waiter.acquire(True, max(0.0, rest))
                    if end is not None and monotonic() >= end:
                        break
        finally:
            self.acquire()
            if not got and waiter in self._waiters:
                self._waiters.remove(waiter)
        return got
