"""Group commit: batches of many callers are written together, in one commit at a time.

::

    append       ──► queue ──► the thread that gets the commit lock writes all queued batches, and the other
                               threads find theirs written
    append_soon  ──► queue ──► the writer thread writes them; the caller does not wait

While one commit is written, the next batches are queued, so a busy store needs fewer commits per batch. The thread
leaves each batch for `GROUP` seconds to callers that wait for batches of their own: in a search loop `gather` and
`submit` commit again and again, and a thread that did the same between them would only take turns with them. It runs
while there is something to write, and a little longer.

If a commit fails, the callers that wait for it get the error. Batches that no caller waits for stay in the queue, in
order and before newer ones, and are tried again until they are written. So a full disk or a lost server loses no
outcome.

If a commit raises something else than a `StorageError`, the cause is unknown and may be one of its batches. The batches
are then written one by one. A batch that raises such an error again and again is dropped, with an error in the log,
since the batches after it could not be written otherwise.
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
"""Seconds that the thread waits for more batches before it ends."""

GROUP = 0.002
"""Seconds that a batch waits in the queue, and at the most twice as many, before the thread writes it."""

MOST_FAILURES = 3
"""A batch is dropped when it, written alone, has raised an unexpected error this many times."""

FIRST_RETRY, LAST_RETRY = 0.1, 5.0
"""Seconds between attempts to write: each wait is twice the one before, from the first to the last."""


class _Unexpected(StorageError):
    """A commit raised something else than a `StorageError`."""


class _Pending(Generic[Batch]):
    __slots__ = ("batch", "done", "error", "failures", "waited_for")

    def __init__(self, batch: Batch, waited_for: bool) -> None:
        self.batch = batch
        self.waited_for = waited_for
        self.done = False
        self.error: StorageError | None = None
        self.failures = 0  # how often it raised an unexpected error when it was written alone


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
        # Use `with self._lock`, never `with self._work`: the condition's `__enter__` is Python code, in which a Ctrl-C
        # may come after the lock was taken and before `with` can release it.
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._failing = False
        self._in_group = False  # whether the thread waits for the end of `GROUP`; no batch need wake it
        self._has_news = False  # whether a batch was queued since the thread last looked
        self._guard = Guard(f"The thread that writes to {self._name}", self._pause)

    def after_fork(self) -> None:
        """In a forked child: begin with an empty queue, as the parent writes what is queued."""
        self._begin()

    def append(self, batch: Batch) -> None:
        """Commit the batch, after those queued before. Raises the error that prevented it; then it is not kept."""
        entry = _Pending(batch, True)
        with self._lock:
            self._queue.append(entry)
        with self.commit_lock:
            if not entry.done:
                self._drain()
        if entry.error is not None:
            raise entry.error

    def append_soon(self, batch: Batch) -> None:
        """Queue the batch for the thread. Never waits for the store, never raises."""
        with defer_signals(), self._lock:
            self._queue.append(_Pending(batch, False))
            if self._thread is None:
                self._retry = FIRST_RETRY
                try:
                    self._thread = start_guarded(f"evalpool-writer {self._name}", self._guard, self._turn)
                except RuntimeError as error:  # no more threads can be started; the next call or `flush` tries again
                    _log.warning("Records wait to be written to %s: %s", self._name, error)
            self._has_news = True
            if not self._in_group:
                self._work.notify()

    def flush(self) -> None:
        """Wait until the queue is committed. Raises the error that prevents it; the queue is then still kept."""
        with self.commit_lock:
            error = self._drain()
            while isinstance(error, _Unexpected):  # at most `MOST_FAILURES` times for each batch, which is then dropped
                error = self._drain()
            if error is not None:
                raise error

    def close(self) -> None:
        """Flush, and end the thread. Raises the error that prevents the flush; then the queue is lost."""
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
        """Commit all queued batches. Called under the commit lock. Returns the error that prevented it, or None."""
        with defer_signals():  # an interrupt between the commit and `popleft` would have batches committed twice
            with self._lock:
                entries = list(self._queue)
            if not entries:
                return None
            through, error = self._commit_all(entries)
            with self._lock:
                # Only this thread takes from the queue; others have appended after the batches that were committed.
                for entry in entries:
                    self._queue.popleft()
                    entry.done = True
                rest = entries[through:]
                for entry in rest:
                    entry.error = error
                self._queue.extendleft(entry for entry in reversed(rest) if not entry.waited_for)
                kept = len(self._queue)
        self._log_changes(error, kept)
        return error

    def _commit_all(self, entries: list[_Pending[Batch]]) -> tuple[int, StorageError | None]:
        """Commit these entries. Return how many are committed or dropped, and the error that prevents the others."""
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
                entry.error = _Unexpected(f"{self._name} could not write: {type(error).__name__}: {error}")
                entry.error.__cause__ = error
                entry.failures += 1
                if not entry.waited_for:
                    if entry.failures < MOST_FAILURES:
                        return place, entry.error
                    _log.error("%s could not write in %d attempts; these records are lost: %.1000r",
                               self._name, MOST_FAILURES, entry.batch, exc_info=error)  # fmt: skip
        return len(entries), None

    def _commit_some(self, entries: list[_Pending[Batch]]) -> None:
        with allow_signals() if self._remote else nullcontext():
            self._commit([entry.batch for entry in entries])

    def _log_changes(self, error: StorageError | None, kept: int) -> None:
        """Log once when writing begins to fail and records are kept, and once when it works again."""
        if error is None and self._failing:
            self._failing = False
            _log.warning("%s takes records again; all that were kept in memory are written.", self._name)
        elif error is not None and kept and not self._failing:
            self._failing = True
            text = str(error).rstrip(".")
            _log.error("%s. Records are kept in memory and will be written when this is possible.", text)

    def _turn(self) -> bool:
        """Wait for batches and write them. Return False when the thread is to end."""
        me = threading.current_thread()
        with self._lock:
            if self._thread is me and not (self._queue or self._has_news):
                self._work.wait(IDLE)
            if self._thread is not me:
                return False
            if not (self._queue or self._has_news):
                self._thread = None
                return False
            oldest = self._queue[0] if self._queue else None
            self._has_news, self._in_group = False, True
            try:
                self._work.wait_for(lambda: self._thread is not me, GROUP)
            finally:
                self._in_group = False
            if not self._queue or self._queue[0] is not oldest:
                return True  # a caller has written it, or it came a moment ago
        with self.commit_lock:
            error = self._drain()
        if error is None:
            self._retry = FIRST_RETRY
            return True
        self._pause(error)
        return True

    def _pause(self, error: BaseException) -> None:
        """Wait before the next attempt, after the thread could not write."""
        me = threading.current_thread()
        with self._lock:
            # A call of `append_soon` wakes the thread, but new batches are no reason to try again earlier.
            self._work.wait_for(lambda: self._thread is not me, self._retry)
        self._retry = min(2 * self._retry, LAST_RETRY)


_writers: weakref.WeakSet[Writer[Any]] = weakref.WeakSet()


def _flush_at_exit() -> None:
    """Write all queued batches when a program ends without closing its storage."""
    writers = list(_writers)
    for writer in writers:
        try:
            writer.flush()
        except StorageError as error:
            _log.error("Records are lost at the end of the program: %s", error)
    for writer in writers:
        writer.rest()


atexit.register(_flush_at_exit)
