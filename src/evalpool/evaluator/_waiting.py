"""How a caller gets its jobs: it waits without using CPU, or works for the engine, then takes each job once.

::

    gather ─► notices of running jobs ─► wait: the engine's, the timeline's or the core's ─► take ─► conclude

An interrupt between `take` and the return puts the jobs back: the next `gather` returns them. Nothing is recorded twice
and no hook is called twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from evalpool._checks import check_choice, check_number
from evalpool._clock import monotonic
from evalpool._interrupts import defer_signals, keep_installed
from evalpool.evaluator._backend import Backend
from evalpool.evaluator._gathering import raise_first_failure
from evalpool.evaluator._port import Turn

if TYPE_CHECKING:
    from evalpool.evaluator._core import Core
    from evalpool.evaluator._fence import Fence
    from evalpool.evaluator._gathering import Gathering
    from evalpool.evaluator._hook_queue import HookQueue
    from evalpool.evaluator._recorder import Recorder
    from evalpool.evaluator._timeline import Timeline
    from evalpool.jobs._inbox import Inbox
    from evalpool.jobs._job import Job

__all__ = ["ALL", "Waiting", "size_of"]

ALL = 1 << 61
"""A size that means: all outstanding jobs."""


def size_of(type: str, size: int, outstanding: int) -> int:
    """Return how many jobs a gather with these arguments waits for. Warns, at the caller's line, if there are fewer."""
    check_choice("gather's type", type, ("ALL", "BATCH"))
    size = check_number("size", size, 1)
    if type == "ALL":
        return ALL
    if 0 < outstanding < size:
        warnings.warn(
            f"gather was asked for {size} jobs, but only {outstanding} are outstanding; it waits for {outstanding}.",
            stacklevel=3,
        )
    return size


class Waiting:
    """Waits for jobs and returns them; in the caller's thread, of which there may be several.

    Args:
        backend: may do its work in a thread that waits.
        after: ``after(seconds, function)``, a timer.
        raises: whether to raise `JobError` for the first job that failed.
        timeline: of simulated time, which passes while a thread waits; or None.

    Attributes:
        wait: ``wait(inbox, size, deadline)``, until the inbox has `size` jobs, or all that are outstanding, or the time
            is up; an engine may work meanwhile.
    """

    def __init__(
        self,
        core: Core,
        backend: Backend,
        gathering: Gathering,
        *,
        recorder: Recorder,
        hooks: HookQueue,
        fence: Fence,
        after: Callable[..., None],
        raises: bool,
        timeline: Timeline | None,
    ) -> None:
        self._core = core
        self.wait: Callable[[Inbox, int, float | None], None] = (
            core.wait if type(backend).wait is Backend.wait else partial(self.wait_with, backend.wait)
        )
        self._works = backend.waits
        self._gathering = gathering
        self._recorder, self._hooks, self._fence = recorder, hooks, fence
        self._after = after
        self._raises = raises
        self._timeline = timeline

    def gather(self, inbox: Inbox, size: int, timeout: float | None) -> list[Job[Any]]:
        """Wait until `inbox` has `size` jobs, or all that are outstanding, and take what it has."""
        if self._hooks.notices or self._recorder.noted:
            self._gathering.tell_notices()
        if size == ALL:
            size = max(1, inbox.outstanding)
        keep_installed()
        deadline = None if timeout is None else monotonic() + timeout
        if self._timeline is not None:
            self._timeline.wait(inbox, size, timeout)
        else:
            outstanding = inbox.outstanding
            if len(inbox.done) < (size if size < outstanding else outstanding):  # `needed`, without a call for each job
                if self._core.ledger.free > 0:
                    self._core.pump_what_is_left()
                self.wait(inbox, size, deadline)
        jobs = self.finish(inbox)
        if self._fence.was_needed and len(jobs) < size and self._timeline is None:
            return self._gather_more(jobs, inbox, size, deadline)
        return jobs

    def _gather_more(self, jobs: list[Job[Any]], inbox: Inbox, size: int, deadline: float | None) -> list[Job[Any]]:
        """Continue `gather`, which took `jobs`: other jobs that were done turned out to be another evaluator's."""
        try:
            while len(jobs) < size and inbox.outstanding and not self._core.closed:
                if deadline is not None and monotonic() >= deadline:
                    break
                self.wait(inbox, size - len(jobs), deadline)
                if len(inbox.done) < inbox.needed(size - len(jobs)):
                    self._fence.wait(inbox, deadline)
                jobs.extend(self.finish(inbox))
        except BaseException:
            self._core.put_back(inbox, jobs)
            raise
        return jobs

    async def agather(self, inbox: Inbox, size: int, timeout: float | None) -> list[Job[Any]]:
        """As `gather`, inside a running event loop, which is not blocked."""
        import asyncio

        if self._timeline is not None:  # its time passes in another thread
            return await asyncio.to_thread(self.gather, inbox, size, timeout)
        if size == ALL:
            size = max(1, inbox.outstanding)
        deadline = None if timeout is None else monotonic() + timeout
        self._core.pump_what_is_left()
        if self._works:  # the waiting thread does the work: another thread, so that the caller's loop is not blocked
            await asyncio.to_thread(self.wait, inbox, size, deadline)
        else:
            await self._wait_in_a_loop(inbox, size, deadline)
        jobs = self.finish(inbox)
        if self._fence.was_needed and len(jobs) < size:
            return await asyncio.to_thread(self._gather_more, jobs, inbox, size, deadline)
        return jobs

    async def _wait_in_a_loop(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        """As `wait`, inside a running event loop, which is not blocked."""
        import asyncio

        core, loop = self._core, asyncio.get_running_loop()
        event = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(event.set)

        def due() -> None:
            with core.lock:
                inbox.wake_watchers()

        with core.lock:
            inbox.watchers.append(wake)
        if deadline is not None:
            self._after(deadline - monotonic(), due)  # the clock of the program's loop may be frozen
        try:
            while len(inbox.done) < inbox.needed(size):
                event.clear()
                if len(inbox.done) >= inbox.needed(size):
                    break
                await event.wait()
                if deadline is not None and monotonic() >= deadline:
                    return
        finally:
            with core.lock:
                if wake in inbox.watchers:
                    inbox.watchers.remove(wake)

    def wait_with(self, wait: Callable[[Turn], bool], inbox: Inbox, size: int, deadline: float | None) -> None:
        """As `wait`, with this way of an engine to work in the thread that waits."""
        turn = Turn(self._core, inbox, size, deadline)
        try:
            works = wait(turn)
        finally:
            if turn.wakers is not None:
                turn.end()
        if not works:
            self._core.wait(inbox, size, deadline)

    def finish(self, inbox: Inbox) -> list[Job[Any]]:
        """Take the finished jobs, record them and call the callbacks."""
        jobs: list[Job[Any]] = []
        try:
            with defer_signals():
                jobs = self._core.take(inbox)
                self._gathering.conclude(jobs)
        except BaseException:
            # Interrupted: no job is lost, since the next gather returns them; and nothing is recorded twice.
            self._core.put_back(inbox, jobs)
            raise
        if self._raises:
            raise_first_failure(jobs)
        return jobs
