"""The hooks of callbacks that are due, each called once, in the caller's thread.

::

    a backend's thread     notice("on_start", job)          ──► notices ──► deliver_notices()
    gather                 add("on_gather", jobs, others)   ──► due     ──► deliver()

Notices say what happened to running jobs; they come before the hooks of the jobs that `gather` returns. What a callback
raises is logged and stops nothing else. If the user interrupts a hook, the interrupt is raised, and the hooks that were
not called stay due: the next call delivers them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from evalpool._interrupts import allow_signals, defer_signals, from_a_handler
from evalpool._log import get_logger

if TYPE_CHECKING:
    from evalpool.callbacks import Callback

__all__ = ["HookQueue"]

logger = get_logger()


class HookQueue:
    """The hooks that are due, and the callbacks that implement them. Any thread may call `notice`; only the caller's
    thread calls the other methods.

    Args:
        callbacks: of the evaluator, in the order in which they are called.

    Attributes:
        on_open, on_launch, ...: the callbacks that implement this hook. If there are none, the hook need not be added,
            so that no-ops are not called a million times.
        notices: hooks about running jobs, with their arguments.
        due: a hook, how many of its calls were made, and with which arguments all its callbacks are called, one after
            the other.
    """

    on_open: list[Callback]
    on_launch: list[Callback]
    on_start: list[Callback]
    on_record: list[Callback]
    on_done: list[Callback]
    on_done_other: list[Callback]
    on_gather: list[Callback]
    on_close: list[Callback]

    def __init__(self, callbacks: Iterable[Any]) -> None:
        from evalpool.callbacks._base import HOOKS, implements

        callbacks = list(callbacks)
        for name in HOOKS:
            setattr(self, name, [callback for callback in callbacks if implements(callback, name)])
        self.notices: deque[tuple[str, tuple[Any, ...]]] = deque()
        self.due: deque[tuple[str, int, list[tuple[Any, ...]]]] = deque()

    def call(self, name: str, *arguments: Any) -> None:
        """Call a hook of all callbacks now."""
        for callback in getattr(self, name):
            _call(callback, name, arguments)

    def notice(self, name: str, *arguments: Any) -> None:
        """Queue a hook about a running job. Any thread."""
        if getattr(self, name):
            self.notices.append((name, arguments))

    def deliver_notices(self) -> None:
        """Call the queued hooks about running jobs."""
        while self.notices:
            try:
                name, arguments = self.notices.popleft()
            except IndexError:  # another caller's thread was faster
                return
            self.call(name, *arguments)

    def add(self, name: str, *arguments: Any) -> None:
        """Make a hook due."""
        if getattr(self, name):
            self.due.append((name, 0, [arguments]))

    def add_each(self, name: str, jobs: Iterable[Any]) -> None:
        """Make a hook due for each of these jobs."""
        if getattr(self, name):
            self.due.append((name, 0, [(job,) for job in jobs]))

    def deliver(self) -> None:
        """Call the hooks that are due, each once. Those that are not called because of an interrupt stay due."""
        due = self.due
        while due:
            with defer_signals():
                try:
                    name, made, arguments = due.popleft()
                except IndexError:  # another caller's thread was faster
                    return
                callbacks = getattr(self, name)
                each, last = len(callbacks), len(callbacks) * len(arguments)
                begun = made
                try:
                    with allow_signals():  # one that was noted strikes here: the calls are still to be made
                        while begun < last:
                            job, callback = divmod(begun, each)
                            begun += 1
                            _call(callbacks[callback], name, arguments[job])
                except BaseException:
                    if begun > made and getattr(callbacks[(begun - 1) % each], "_repeats", False):
                        begun -= 1
                    if begun < last:
                        due.appendleft((name, begun, arguments))
                    raise

    def forget(self) -> None:
        """In a forked child: drop the hooks that are due; the parent calls them."""
        self.notices.clear()
        self.due.clear()


def _call(callback: Callback, name: str, arguments: tuple[Any, ...]) -> None:
    """Call a hook of one callback; an error is logged with the callback's name and stops nothing else."""
    try:
        getattr(callback, name)(*arguments)
    except Exception as error:
        if from_a_handler(error):  # an interrupt, which is meant for the caller wherever it came
            raise
        logger.exception("%s.%s raised; the search goes on.", type(callback).__name__, name)
