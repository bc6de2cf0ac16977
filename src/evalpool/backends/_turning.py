"""An event loop that the waiting thread runs, and that can be left between two of its events.

An exception must not leave asyncio's loop in the middle of its work: what it had taken from its queues would be lost,
and an exception that ended a task is printed when the task is collected. So a Ctrl-C is deferred while the loop works
(`evalpool._interrupts`). It may come in two places: while the loop waits for events, and in a step of the user's code,
which it ends.
"""

from __future__ import annotations

import asyncio
import selectors
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from evalpool._clock import lead, monotonic
from evalpool._guard import guarded_act
from evalpool._interrupts import SLICE, allow_signals, defer_signals

__all__ = ["TurningLoop"]


class _OpenSelector(selectors.DefaultSelector):
    """Waits with signals allowed; in slices, because a signal that comes just before a wait does not end the wait."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        with allow_signals():
            return super().select(SLICE if timeout is None else min(timeout, SLICE))


class TurningLoop:
    """Tasks that progress while `turn` is called. One thread at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop(_OpenSelector())
        lead(self._loop)
        self._tasks: set[asyncio.Task[None]] = set()
        self._interrupt: BaseException | None = None

    @property
    def is_running(self) -> bool:
        """Whether a thread runs the loop."""
        return self._loop.is_running()

    def start(
        self, work: Coroutine[Any, Any, Any], done: Callable[[Any], None], interrupted: Callable[[], None]
    ) -> asyncio.Task[None]:
        """Begin a task; it makes its first step at the next `turn`.

        Args:
            work: the user's code. If it raises, that is an interrupt, which `turn` will raise.
            done: is called with what it returned.
            interrupted: is called instead if it was interrupted or cancelled.
        """

        async def run() -> None:
            try:
                result = await _opened(work)
            except BaseException as error:  # noqa: BLE001  else asyncio would print it at exit
                self._interrupt = error
                interrupted()
            else:
                done(result)

        task = self._loop.create_task(run())
        self._tasks.add(task)

        def on_end(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled():  # before its first step
                work.close()
                interrupted()
            self._loop.stop()

        task.add_done_callback(on_end)
        return task

    def turn(self, deadline: float | None) -> None:
        """Run all tasks until one has ended, or until `deadline` (`monotonic()`).

        Raises:
            KeyboardInterrupt: a Ctrl-C came while it waited, or ended a task.
        """
        self._here_or_beside(lambda: self._turn(deadline))

    def _turn(self, deadline: float | None) -> None:
        with defer_signals():
            timer = None
            if deadline is not None:
                timer = self._loop.call_later(max(0.0, deadline - monotonic()), self._loop.stop)
            try:
                self._loop.run_forever()
            finally:
                if timer is not None:
                    timer.cancel()
            interrupt, self._interrupt = self._interrupt, None
            if interrupt is not None:
                raise interrupt

    def cancel(self, task: asyncio.Task[None], grace: float, dropped: Callable[[], None]) -> None:
        """Cancel a task; any thread. The task ends at the next `turn`, unless its code catches that.

        Args:
            grace: seconds that the task may take to end.
            dropped: is called, in the loop, if the task has not ended by then. It remains in the loop, and `turn` does
                not wait for it.
        """
        self._loop.call_soon_threadsafe(self._cancel, task, grace, dropped)

    def _cancel(self, task: asyncio.Task[None], grace: float, dropped: Callable[[], None]) -> None:
        task.cancel()
        self._loop.call_later(grace, self._drop, task, dropped)

    def _drop(self, task: asyncio.Task[None], dropped: Callable[[], None]) -> None:
        if not task.done():
            dropped()
            self._loop.stop()

    def close(self, grace: float) -> None:
        """Cancel all tasks, also those that the user's code left behind, and close the loop.

        A task that still runs after `grace` seconds is dropped.
        """
        self._here_or_beside(lambda: self._close(grace))

    def _close(self, grace: float) -> None:
        with defer_signals():
            tasks = asyncio.all_tasks(self._loop)  # with those that the user's code began and left behind
            try:
                deadline = monotonic() + grace
                for task in tasks:
                    task.cancel()
                    task.add_done_callback(lambda _: self._loop.stop())
                while monotonic() < deadline and not all(task.done() for task in tasks):
                    self._turn(deadline)
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            finally:
                self._loop.close()
                for task in self._tasks:
                    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it was reported as cancelled
                for task in tasks:
                    if not task.done():
                        _keep_for_ever(task.get_coro())

    def _here_or_beside(self, call: Callable[[], None]) -> None:
        """Call in this thread; or in another one, if an event loop runs in this thread, as in a notebook's cell."""
        if asyncio._get_running_loop() is None:
            call()
            return
        raised: list[BaseException] = []

        def beside() -> None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001  it is raised again in the calling thread
                raised.append(error)

        thread = guarded_act("evalpool-serial-loop", "The thread of the event loop", beside)
        thread.start()
        thread.join()
        if raised:
            raise raised[0]


def _keep_for_ever(coroutine: Any) -> None:
    """Let a coroutine that refuses to end be where it is until the program ends, as a thread that is abandoned.

    The last reference to it would raise GeneratorExit in it, in the middle of whatever runs then; and code that catches
    everything in a loop, where nothing can be awaited any more, would never come back.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(coroutine))


@types.coroutine
def _opened(work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Await `work` with signals allowed only during its own steps."""
    value: Any = None
    error: BaseException | None = None
    try:
        while True:
            try:
                with allow_signals():
                    awaited = work.send(value) if error is None else work.throw(error)
            except StopIteration as end:
                return end.value
            try:
                value, error = (yield awaited), None
            except GeneratorExit:
                raise
            except BaseException as cancelled:  # noqa: BLE001  it is raised in the user's code
                error = cancelled
    finally:
        work.close()
