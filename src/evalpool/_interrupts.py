"""Limits where a Ctrl-C takes effect: only while we wait or run the user's code.

Python raises KeyboardInterrupt between any two instructions of the main thread: for example after a result was read and
before it is reported, or after a lock was taken and before the `with` that would release it. So code that must not be
interrupted halfway defers signals: a Ctrl-C is noted, and raised at the end or where signals are allowed.

::

    with defer_signals():          noted
        with allow_signals():      raised at once: waiting, the user's code
            ...
                                   raised here if one was noted

Handlers of other signals may raise, too: SIGALRM that limits a wait, SIGUSR1 of a batch system. While an evaluator is
open, a `_SignalHandler` wraps each handler of the user and calls it unless signals are deferred. Installing the
wrappers at every `defer_signals` would cost as much as everything else for a job. Other threads are not affected:
Python's signal handlers run only in the main thread.
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
"""Seconds of one wait in the system. A signal that comes just before a wait does not interrupt it, and its handler runs
at the end of the wait. So long waits are split into slices, which costs some microseconds per second."""

__all__ = [
    "SLICE",
    "Condition",
    "ToldToEnd",
    "allow_signals",
    "defer_signals",
    "end_by_signal",
    "ended_by",
    "from_a_handler",
    "handle_noted",
    "handler_of",
    "install",
    "is_deferred",
    "keep_installed",
    "replace_handler",
    "uninstall",
    "when_told_to_end",
]


class ToldToEnd(KeyboardInterrupt):
    """Raised for a signal other than SIGINT that ends the program as a Ctrl-C would.

    It is raised by the handler of that signal. We do not send SIGINT instead, because that may be ignored (in a
    background command of a job script, or under nohup) or have a handler of the user.
    """


_when_told: list[Callable[[], None]] = []


def when_told_to_end(call: Callable[[], None]) -> Callable[[], None]:
    """Register a function that is called when a batch system's signal tells the program to end; a decorator.

    It is called in a signal handler, so it must not take a lock, and may only set plain attributes.
    """
    _when_told.append(call)
    return call


def end_by_signal(number: int) -> None:
    """Raise `ToldToEnd`, at once or where signals are allowed next. Called by the handler of the signal."""
    _state.ended_by = number
    for call in _when_told:
        call()
    if _state.deferring:
        _state.noted.append(functools.partial(_raise, number))
    else:
        _raise(number)


def ended_by() -> int:
    """Return the last signal that told the program to end; 0 if there was none."""
    return _state.ended_by


def _raise(number: int) -> None:
    raise ToldToEnd(f"told to end by {signal.Signals(number).name}")


class _MainThread:
    """The state of the main thread.

    The attributes belong to an object and not to the class: after a write to a class, the interpreter drops its caches
    for it, and the next calls of `defer_signals`, of which there are six per job, take twice as long.
    """

    __slots__ = ("deferring", "ended_by", "main", "noted", "seen", "users")

    def __init__(self) -> None:
        self.main = threading.main_thread().ident
        self.deferring = False
        self.noted: list[Callable[[], None]] = []  # calls of handlers that were deferred
        self.seen: list[Any] = []  # the handlers of `LOOKED_AT`, when we last looked
        self.users = 0
        self.ended_by = 0  # the last signal that told the program to end


_state = _MainThread()

ALL = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""The signals whose handlers may raise, or close an evaluator, in the middle of other code."""
CRASHES = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS", "SIGSTKFLT"}
LOOKED_AT = [number for number in ALL if number < 32 and getattr(number, "name", "") not in CRASHES]
"""The signals whose new handlers are noticed while evaluators are open; those of others only at the first opening."""


class _SignalHandler:
    """Wraps one handler of the user, which is called through it, even after the user has restored the wrapper."""

    __slots__ = ("theirs",)

    def __init__(self, theirs: Callable[[int, FrameType | None], Any]) -> None:
        self.theirs = theirs

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _state.deferring:
            _state.noted.append(functools.partial(self.theirs, number, None))
        else:
            self.theirs(number, frame)


def _after_fork() -> None:
    """In a forked child: the forking thread is the main one, and no evaluator is open."""
    _state.deferring = False
    _state.noted = []
    _state.main = get_ident()
    _state.users = 0


at_fork(Order.INTERRUPTS, _after_fork)


def install() -> bool:
    """Wrap the user's handlers; only in the main thread. False in other threads."""
    if get_ident() != _state.main:
        return False
    _state.users += 1
    _stand_before(ALL)
    return True


def keep_installed() -> None:
    """Wrap a handler that was set meanwhile, if any. The check costs half a microsecond."""
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
    """Undo one `install`; the last one restores the user's handlers."""
    _state.users -= 1
    if _state.users <= 0 and get_ident() == _state.main:
        for number in ALL:
            current = _signal.getsignal(number)
            if type(current) is _SignalHandler:
                signal.signal(number, current.theirs)


def replace_handler(number: int, handler: Any) -> Any:
    """Set the user's handler of a signal, wrapped if evaluators are open; return the previous one of the user.

    `signal.signal` would return our wrapper instead. Only in the main thread.
    """
    before = signal.signal(number, handler)
    if _state.users > 0:
        _stand_before(ALL)
    return _unwrapped(before)


def handler_of(number: int) -> Any:
    """The user's handler of a signal, as `signal.getsignal` says it where no evaluator is open."""
    return _unwrapped(_signal.getsignal(number))


def _unwrapped(handler: Any) -> Any:
    return handler.theirs if type(handler) is _SignalHandler else handler


def _deliver() -> None:
    while _state.noted:
        _state.noted.pop(0)()


def from_a_handler(error: BaseException) -> bool:
    """Whether an error was raised by a signal handler of the user, and not by the code that it interrupted."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in (_SignalHandler.__call__.__code__, _deliver.__code__):
            return True
        trace = trace.tb_next
    return False


def is_deferred() -> bool:
    """Whether no signal handler can run in this thread now, so that it need not defer signals. A third of the cost."""
    return _state.deferring or get_ident() != _state.main


class defer_signals:
    """A context in which signals are noted and not handled. It can be nested."""

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
    """A context inside `defer_signals` in which signal handlers are called at once."""

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


def handle_noted() -> None:
    """Inside `defer_signals`: call the handlers of signals that were noted, so that they cut nothing that follows."""
    with allow_signals():
        pass


class Condition(threading.Condition):
    """A condition whose `wait` can be interrupted by a Ctrl-C only while it really waits."""

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

    def notify_all(self) -> None:
        """As `threading.Condition.notify_all`, in a call instead of three. The caller holds the lock."""
        waiters = self._waiters
        while waiters:
            try:  # noqa: SIM105  a context costs as much as this call saves
                waiters[0].release()
            except RuntimeError:
                pass  # it was released before: an interrupt came before it was removed
            waiters.popleft()
