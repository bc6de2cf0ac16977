"""A storage in one SQLite file: the embedded default for runs to keep.

The log is the table `events`. Whoever looks with other tools finds the view `jobs`, one row per job; its rows
are written in the transaction of the events that changed them, from the fold of those jobs' events, so that
the rules of `_fold` stand once. They only point to the events whose JSON the view shows.

Write-ahead logging lets readers go on while one process writes. ``synchronous=NORMAL`` gives each commit to the
operating system and leaves the flush to the disk to checkpoints: what was committed survives the death of every
process at any moment (`kill -9`), and a power failure may cost the last commits but never the file. ``FULL``
would add a flush of the disk to every gather, for the rarer of the two.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from itertools import count, repeat
from typing import Any

from evalpool._checks import is_real
from evalpool._text import shown
from evalpool.errors import BadArgument, CorruptRecord, UnknownSearch
from evalpool.storage._base import Cursor, Sharing, path_of
from evalpool.storage._codec import Malformed, OnMalformed, Reporter, decode
from evalpool.storage._columns import Columns
from evalpool.storage._counters import check_next, refuse
from evalpool.storage._durable import DurableStorage
from evalpool.storage._events import LARGEST, Event
from evalpool.storage._lost import CursorLost
from evalpool.storage._own_writes import OwnWrites
from evalpool.storage._sqlite_file import SQLiteFile
from evalpool.storage._sqlite_rows import JobRow, KnownRows
from evalpool.storage._written import Encoder

__all__ = ["SQLiteStorage"]


class SQLiteStorage(DurableStorage[Columns]):
    """Keeps events in the SQLite file `path`, shared by the processes of one host; made if it is not there.

    Query it while a search runs::

        sqlite3 results.db "SELECT job_id, objective, configuration ->> '$.lr' FROM jobs ORDER BY objective"

    Args:
        path: the file. Its directory exists, on a disk of this host: network file systems do not keep the
            locks and the shared memory that write-ahead logging needs, and are refused.
        timeout: seconds to wait while another process writes, before `StorageUnavailable`.
        on_malformed: what to do about an event that cannot be read: ``"skip"`` it with a warning in the log,
            or ``"raise"`` `CorruptRecord`.
    """

    shared = Sharing.PROCESSES

    def __init__(
        self, path: str | os.PathLike[str], *, timeout: float = 30.0, on_malformed: OnMalformed = "skip"
    ) -> None:
        super().__init__()
        if not (is_real(timeout) and timeout > 0):
            raise BadArgument(f"timeout={timeout!r}; give the seconds to wait for a lock, more than 0.")
        self._path = path_of(path)
        self._timeout = timeout
        self._reporter = Reporter(on_malformed)
        self._writing = SQLiteFile(self._path, timeout)
        try:
            self._reading = SQLiteFile(self._path, timeout)
        except BaseException:
            self._writing.close()
            raise
        self._read_lock = threading.Lock()
        self._known = KnownRows(self._earlier)
        self._own = OwnWrites()
        self._left: tuple[Cursor, int] | None = None  # the last event of the file, and which state of it, as we left it
        self._begin_writing(self._path, remote=False)

    # -- primitives ------------------------------------------------------------------------------------

    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        with self._read_lock:
            rows = self._rows(after)
        events: list[Event] = []
        for row in rows:
            try:
                events.append(decode(row[1], row[2], row[3], row[4]))
            except Malformed as error:
                self._report(row, error)
        return events, _mark(rows[-1]) if rows else after

    def _take_own(self, after: Cursor) -> tuple[list[Any], Cursor]:
        return self._own.take(after)

    def _rows(self, after: Cursor | None) -> list[Any]:
        """Under the lock of reading: the rows behind the cursor."""
        first = 0 if after is None else after[0]
        try:
            # From the last row that was read: a file that was set back has none in its place, or another.
            rows = self._reading.events(first)
        except CorruptRecord:
            rows = self._reading.readable_events(first + 1, self._report_damage)
            if not (rows or first):
                raise  # nothing is left
            return rows
        if after is not None:
            if not rows or _mark(rows[0]) != after:
                raise CursorLost(f"{self._path} no longer holds event {first} as it was read.")
            del rows[0]
        return rows

    def _take(self, search_id: str, n: int, cap: int | None) -> int:
        with self._writer.commit_lock, self._writing.transaction() as db:
            found = db.execute("SELECT next FROM counters WHERE search_id = ?", (search_id,)).fetchone()
            if found is not None:
                first = check_next(found[0], n, f"{self._path}, search {search_id}")
                if cap is not None and first + n > cap:
                    raise refuse(search_id, first, n, cap)
                db.execute("UPDATE counters SET next = ? WHERE search_id = ?", (first + n, search_id))
                return first
        self._search_known(search_id)  # raises, with the searches there are
        raise UnknownSearch(f"search {search_id!r} of {self._path} has lost its counter.")

    def _largest(self) -> int:
        # Of a row, of which the rest is short. What was compiled in, or a smaller one that was set.
        return self._writing.longest() - 10_000

    # -- writing ---------------------------------------------------------------------------------------

    def _pack(self, events: Sequence[Event], encoder: Encoder) -> Columns | None:
        return Columns.of(events, encoder)

    def _commit(self, batches: list[Columns]) -> None:
        """In one transaction."""
        known = self._known
        events = Columns.joined(batches)
        kinds, search_ids, numbers, texts = events.kinds, events.search_ids, events.numbers, events.texts
        try:
            with self._writing.transaction() as db:
                before = self._last_mark(db)
                last = before[0]
                db.executemany(
                    "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                    zip(count(last + 1), kinds, search_ids, numbers, texts, strict=False),
                )
                known.begin(before)
                changed = known.add(db, events, last)
                if "search" in kinds:
                    for kind, search_id in zip(kinds, search_ids, strict=True):
                        if kind == "search":
                            db.execute("INSERT OR IGNORE INTO counters VALUES (?, 0)", (search_id,))
                db.executemany(
                    "INSERT OR REPLACE INTO job_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    map(JobRow.columns, changed),
                )
        except BaseException:
            known.clear()
            self._left = None
            raise
        after = _mark((last + len(kinds), kinds[-1], search_ids[-1], numbers[-1], texts[-1]))
        self._left = after, self._writing.state
        known.end(changed, after)
        if events.readable:
            self._own.add(before, after, events.fields(repeat(None)))

    def _last_mark(self, db: Any) -> Cursor:
        """In a transaction: the cursor behind the last event of the file."""
        (last,) = db.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        if not (type(last) is int and last <= LARGEST):
            raise CorruptRecord(f"{self._path} has an event number {shown(last)}: none can follow it.")
        if self._left is not None and self._left[0][0] == last and self._left[1] == self._writing.state:
            return self._left[0]
        try:
            row = db.execute("SELECT id, kind, search_id, number, data FROM events WHERE id = ?", (last,)).fetchone()
        except sqlite3.OperationalError as error:
            if "decode to UTF-8" not in str(error):
                raise
            row = None  # another program wrote it: nothing that we know stands before
        # Ours begin behind 0, where reading begins.
        return (max(last, 0), 0) if row is None or last < 0 else _mark(row)

    def _earlier(self, db: Any, key: tuple[str, int], last: int) -> Iterator[tuple[int, Event]]:
        """A job's events up to that number. Its history is short, and the index leads to it."""
        rows = db.execute(
            "SELECT id, kind, search_id, number, data FROM events "
            "WHERE search_id = ? AND number = ? AND id <= ? ORDER BY id",
            (*key, last),
        )
        for row in rows:
            event = self._event(row)
            if event is not None:
                yield row[0], event

    # -- reading ---------------------------------------------------------------------------------------

    def _event(self, row: tuple[Any, ...]) -> Event | None:
        try:
            return decode(*row[1:])
        except Malformed as error:
            self._report(row, error)
            return None

    def _report(self, row: tuple[Any, ...], error: Malformed) -> None:
        self._reporter.report(f"event {row[0]} of {self._path}", str(error))

    def _report_damage(self, place: str, reason: str) -> None:
        self._reporter.report(f"{place} of {self._path}", reason)

    # -- processes -------------------------------------------------------------------------------------

    def _fork_locks(self) -> tuple[Any, ...]:
        return self._writer.commit_lock, self._read_lock

    def _release(self, flushed: bool) -> None:
        try:
            self._writing.check_still_there()
        finally:
            self._writing.close()
            with self._read_lock:
                self._reading.close()

    def _rest(self) -> None:
        with self._writer.commit_lock:
            self._writing.rest()
        with self._read_lock:
            self._reading.rest()

    def _renew(self) -> None:
        self._read_lock = threading.Lock()
        self._known.clear()
        self._own.clear()
        self._left = None
        self._writing.abandon()
        self._reading.abandon()

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (self._path, self._timeout, self._reporter.what)

    def __repr__(self) -> str:
        return f"SQLiteStorage({self._path!r})"


def _mark(row: tuple[Any, ...]) -> Cursor:
    """A row by its number, and what it says."""
    return row[0], hash(row)


def _open(path: str, timeout: float, on_malformed: OnMalformed) -> SQLiteStorage:
    return SQLiteStorage(path, timeout=timeout, on_malformed=on_malformed)
