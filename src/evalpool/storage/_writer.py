"""Group commit: many callers, one commit at a time, none of whose batches is written alone for long.

::

    append       ──► queue ──► whoever gets the commit lock writes all that is queued, and the others find
                               their batch done
    append_soon  ──► queue ──► the writer thread does so; nobody waits

While one commit is on its way to the disk the next batches gather, so that the busier a store is the fewer
commits a batch costs. The thread lives while there is something to write and a little longer.

A commit that fails fails whoever waits for it. What nobody waits for stays queued, in order and before
anything newer, and is tried again until it is written: a full disk or a lost server loses no outcome.

A commit that raises something else than a `StorageError` has met what nobody foresaw, maybe in one of its batches. So
these are then written one by one, and the one that raises again and again is given up and told: it would keep back all
that come behind it.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Generic, TypeVar

from evalpool._guard import Guard, start_guarded
from evalpool._interrupts import allow_signals, defer_signals, from_a_handler
from evalpool._log import get_logger
from evalpool.errors import StorageError

__all__ = ["Writer"]

Batch = TypeVar("Batch")

_log = get_logger("evalpool.storage")

IDLE = 1.0
"""Seconds that the thread waits for more before it ends."""

GIVEN_UP = 3
"""So many times a batch may raise, by itself, what nobody foresaw."""

FIRST_RETRY, LAST_RETRY = 0.1, 5.0
"""Seconds between attempts to write what is kept back: doubled from the first to the last."""


class _Unforeseen(StorageError):
    """A commit raised something else than a `StorageError`."""


class _Pending(Generic[Batch]):
    __slots__ = ("batch", "done", "error", "failures", "waited_for")

    def __init__(self, batch: Batch, waited_for: bool) -> None:
        self.batch = batch
        self.waited_for = waited_for
        self.done = False
        self.error: StorageError | None = None
        self.failures = 0  # by itself, with an error that nobody foresaw


class Writer(Generic[Batch]):
    """Commits batches in the order in which they came, several at a time.

    Args:
        commit: writes these batches, all or none, or raises a `StorageError`. Called by one thread at a time.
        name: of the store, for messages.
        remote: the store is another process, so a commit may wait for long and a Ctrl-C cuts it off. What was cut off
            is sent again; an event that so arrives twice counts once, but for a measurement. A commit to a file is
            done to its end first.
        rest: called at the end of the program, after the last flush of all writers.
    """

    def __init__(
        self,
        commit: Callable[[list[Batch]], None],
        name: str,
        remote: bool = False,
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._commit = commit
        self.rest = rest
        self._remote = remote
        self._name = name
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        self.commit_lock = threading.RLock()
        self._queue: deque[_Pending[Batch]] = deque()
        # Taken by itself, never through the condition: that one is entered in Python, where a Ctrl-C may come between
        # the taking of the lock and the `with` that would release it.
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._failing = False
        self._guard = Guard(f"The thread that writes to {self._name}", self._pause)

    def after_fork(self) -> None:
        """In a forked child: what is queued is the parent's to write."""
        self._begin()

    def append(self, batch: Batch) -> None:
        """Commit the batch, after what was queued before. Raises what prevented it; then it is not kept."""
        entry = _Pending(batch, True)
        with self._lock:
            self._queue.append(entry)
        with self.commit_lock:
            if not entry.done:
                self._drain()
        if entry.error is not None:
            raise entry.error

    def append_soon(self, batch: Batch) -> None:
        """Queue the batch for the thread. Never waits for the disk, never raises."""
        with defer_signals(), self._lock:
            self._queue.append(_Pending(batch, False))
            if self._thread is None:
                self._retry = FIRST_RETRY
                try:
                    self._thread = start_guarded(f"evalpool-writer {self._name}", self._guard, self._turn)
                except RuntimeError as error:  # the system gives no more threads: the next call, or `flush`, sees to it
                    _log.warning("Records wait to be written to %s: %s", self._name, error)
            self._work.notify()

    def flush(self) -> None:
        """Wait until the queue is committed. Raises what prevents it; the queue is then still kept."""
        with self.commit_lock:
            error = self._drain()
            while isinstance(error, _Unforeseen):  # `GIVEN_UP` times a batch, which keeps back those behind it
                error = self._drain()
            if error is not None:
                raise error

    def close(self) -> None:
        """Flush, and end the thread. Raises what prevents the flush; then what is queued is lost."""
        try:
            self.flush()
        finally:
            with self._lock:
                self._queue.clear()
                thread, self._thread = self._thread, None
                self._work.notify_all()
            if thread is not None and thread is not threading.current_thread():
                thread.join()

    def _drain(self) -> StorageError | None:
        """Commit all that is queued. Under the commit lock. Returns what prevented it."""
        with defer_signals():  # between the commit and the end of its queue, else it would be committed twice
            with self._lock:
                entries = list(self._queue)
            if not entries:
                return None
            through, error = self._commit_all(entries)
            with self._lock:
                # Only this thread takes from the queue; others have appended behind what was committed.
                for entry in entries:
                    self._queue.popleft()
                    entry.done = True
                behind = entries[through:]
                for entry in behind:
                    entry.error = error
                self._queue.extendleft(entry for entry in reversed(behind) if not entry.waited_for)
                kept = len(self._queue)
        self._tell(error, kept)
        return error

    def _commit_all(self, entries: list[_Pending[Batch]]) -> tuple[int, StorageError | None]:
        """How many of them are dealt with, and what prevents the others."""
        try:
            self._commit_some(entries)
        except StorageError as error:
            return 0, error
        except Exception as error:
            if from_a_handler(error):
                raise
        else:
            return len(entries), None
        for place, entry in enumerate(entries):
            try:
                self._commit_some([entry])
            except StorageError as error:
                return place, error
            except Exception as error:
                if from_a_handler(error):
                    raise
                entry.error = _Unforeseen(f"{self._name} could not write: {type(error).__name__}: {error}")
                entry.error.__cause__ = error
                entry.failures += 1
                if not entry.waited_for:
                    if entry.failures < GIVEN_UP:
                        return place, entry.error
                    _log.error("%s could not write in %d attempts; these records are lost: %.1000r",
                               self._name, GIVEN_UP, entry.batch, exc_info=error)  # fmt: skip
        return len(entries), None

    def _commit_some(self, entries: list[_Pending[Batch]]) -> None:
        with allow_signals() if self._remote else nullcontext():
            self._commit([entry.batch for entry in entries])

    def _tell(self, error: StorageError | None, kept: int) -> None:
        """Once when writing begins to fail with something to keep, once when it works again."""
        if error is None and self._failing:
            self._failing = False
            _log.warning("%s takes records again; all that was kept back is written.", self._name)
        elif error is not None and kept and not self._failing:
            self._failing = True
            text = str(error).rstrip(".")
            _log.error("%s. Records are kept in memory and written when it is possible.", text)

    def _turn(self) -> bool:
        """Wait for something to write, and write it; False at the thread's end."""
        me = threading.current_thread()
        with self._lock:
            if self._thread is me and not self._queue:
                self._work.wait(IDLE)
            if self._thread is not me:
                return False
            if not self._queue:
                self._thread = None
                return False
        with self.commit_lock:
            error = self._drain()
        if error is None:
            self._retry = FIRST_RETRY
            return True
        self._pause(error)
        return True

    def _pause(self, error: BaseException) -> None:
        """The thread could not write: not at once again."""
        me = threading.current_thread()
        with self._lock:
            # Whoever appends meanwhile notifies; more events do not make a full disk emptier.
            self._work.wait_for(lambda: self._thread is not me, self._retry)
        self._retry = min(2 * self._retry, LAST_RETRY)


_writers: weakref.WeakSet[Writer[Any]] = weakref.WeakSet()


def _flush_at_exit() -> None:
    """What was appended soon is still to be written when a program ends without closing its storage."""
    writers = list(_writers)
    for writer in writers:
        try:
            writer.flush()
        except StorageError as error:
            _log.error("records are lost at the end of the program: %s", error)
    for writer in writers:
        writer.rest()


atexit.register(_flush_at_exit)
