"""Group commit: many callers, one commit at a time, none of whose batches is written alone for long.

::

    append       ──► queue ──► whoever gets the commit lock writes all that is queued, and the others find
                               their batch done
    append_soon  ──► queue ──► the writer thread does so; nobody waits

While one commit is on its way to the disk the next batches gather, so that the busier a store is the fewer
commits a batch costs. The thread lives while there is something to write and a little longer.

A commit that fails fails whoever waits for it. What nobody waits for stays queued, in order and before
anything newer, and is tried again until it is written: a full disk or a lost server loses no outcome.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Generic, TypeVar

from evalpool._interrupts import Opened, Shielded
from evalpool._log import get_logger
from evalpool.errors import StorageError

__all__ = ["Writer"]

Batch = TypeVar("Batch")

_log = get_logger("evalpool.storage")

IDLE = 1.0
"""Seconds that the thread waits for more before it ends."""

FIRST_RETRY, LAST_RETRY = 0.1, 5.0
"""Seconds between attempts to write what is kept back: doubled from the first to the last."""


class _Entry(Generic[Batch]):
    __slots__ = ("batch", "done", "error", "waited_for")

    def __init__(self, batch: Batch, waited_for: bool) -> None:
        self.batch = batch
        self.waited_for = waited_for
        self.done = False
        self.error: StorageError | None = None


class Writer(Generic[Batch]):
    """Commits batches in the order in which they came, several at a time.

    Args:
        commit: writes these batches, all or none, or raises a `StorageError`. Called by one thread at a time.
        name: of the store, for messages.
        remote: the store is another process, so a commit may wait for long and a Ctrl-C cuts it off. What was cut off
            is sent again; an event that so arrives twice counts once, but for a measurement. A commit to a file is
            done to its end first.
    """

    def __init__(self, commit: Callable[[list[Batch]], None], name: str, remote: bool = False) -> None:
        self._commit = commit
        self._remote = remote
        self._name = name
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        self.commit_lock = threading.RLock()
        self._queue: deque[_Entry[Batch]] = deque()
        # Taken by itself, never through the condition: that one is entered in Python, where a Ctrl-C may come between
        # the taking of the lock and the `with` that would release it.
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._failing = False

    def after_fork(self) -> None:
        """In a forked child: what is queued is the parent's to write."""
        self._begin()

    def append(self, batch: Batch) -> None:
        """Commit the batch, after what was queued before. Raises what prevented it; then it is not kept."""
        entry = _Entry(batch, True)
        with self._lock:
            self._queue.append(entry)
        with self.commit_lock:
            if not entry.done:
                self._drain()
        if entry.error is not None:
            raise entry.error

    def append_soon(self, batch: Batch) -> None:
        """Queue the batch for the thread. Never waits for the disk, never raises."""
        with Shielded(), self._lock:
            self._queue.append(_Entry(batch, False))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"evalpool-writer {self._name}", daemon=True)
                self._thread.start()
            self._work.notify()

    def flush(self) -> None:
        """Wait until the queue is committed. Raises what prevents it; the queue is then still kept."""
        with self.commit_lock:
            if self._queue:
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
        with Shielded():  # between the commit and the end of its queue, else it would be committed twice
            with self._lock:
                entries = list(self._queue)
            if not entries:
                return None
            error: StorageError | None = None
            try:
                with Opened() if self._remote else nullcontext():
                    self._commit([entry.batch for entry in entries])
            except StorageError as caught:
                error = caught
            with self._lock:
                # Only this thread takes from the queue; others have appended behind what was committed.
                for entry in entries:
                    self._queue.popleft()
                    entry.done, entry.error = True, error
                if error is not None:
                    self._queue.extendleft(entry for entry in reversed(entries) if not entry.waited_for)
                kept = len(self._queue)
        self._tell(error, kept)
        return error

    def _tell(self, error: StorageError | None, kept: int) -> None:
        """Once when writing begins to fail with something to keep, once when it works again."""
        if error is None and self._failing:
            self._failing = False
            _log.warning("%s takes records again; all that was kept back is written.", self._name)
        elif error is not None and kept and not self._failing:
            self._failing = True
            text = str(error).rstrip(".")
            _log.error("%s. Records are kept in memory and written when it is possible.", text)

    def _run(self) -> None:
        me = threading.current_thread()
        retry = FIRST_RETRY
        while True:
            with self._lock:
                if self._thread is me and not self._queue:
                    self._work.wait(IDLE)
                if self._thread is not me:
                    return
                if not self._queue:
                    self._thread = None
                    return
            with self.commit_lock:
                error = self._drain()
            if error is None:
                retry = FIRST_RETRY
                continue
            with self._lock:
                # Whoever appends meanwhile notifies; more events do not make a full disk emptier.
                self._work.wait_for(lambda: self._thread is not me, retry)
            retry = min(2 * retry, LAST_RETRY)


_writers: weakref.WeakSet[Writer[Any]] = weakref.WeakSet()


def _flush_at_exit() -> None:
    """What was appended soon is still to be written when a program ends without closing its storage."""
    for writer in list(_writers):
        try:
            writer.flush()
        except StorageError as error:
            _log.error("records are lost at the end of the program: %s", error)


atexit.register(_flush_at_exit)
