"""A storage in one SQLite file: the embedded default for searches whose results are kept.

The log is the table `events`. For other tools there is the view `jobs`, with one row per job. Its rows are written in
the same transaction as the events that change them, and come from the fold of the job's events, so that the rules of
`_fold` are not written again in SQL. They only refer to the events whose JSON the view shows.

With write-ahead logging, processes can read while one process writes. ``synchronous=NORMAL`` hands each commit to the
operating system and flushes to the disk at checkpoints only. Commits survive if any process is killed at any moment
(`kill -9`). A power failure may lose the last commits, but does not damage the file. ``FULL`` would avoid that rare
loss, but flush to the disk at every gather.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count, repeat
from typing import Any

from evalpool._checks import is_real
from evalpool._text import shown
from evalpool.errors import BadArgument, CorruptRecord, UnknownSearch
from evalpool.storage._base import Cursor, Sharing, path_of
from evalpool.storage._codec import Malformed, OnMalformed, Reporter, decode, decode_rows
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
    """Keeps events in the SQLite file `path`, which the processes of one host can share. It is made if it is missing.

    You can query it while a search runs::

        sqlite3 results.db "SELECT job_id, objective, configuration ->> '$.lr' FROM jobs ORDER BY objective"

    Args:
        path: the file. Its directory must exist, on a disk of this host. Network file systems do not have the locks
            and the shared memory that write-ahead logging needs, and are refused.
        timeout: seconds to wait while another process writes, before `StorageUnavailable` is raised.
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
        self._left: tuple[Cursor, int] | None = None  # after our last commit: its last event, and `SQLiteFile.state`
        self._begin_writing(self._path, remote=False)

    # -- primitives ------------------------------------------------------------------------------------

    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        return self._read(after)

    def read_without_details(self) -> tuple[list[Event], Cursor]:
        return self._read(None, details=False)

    def _read(self, after: Cursor | None, details: bool = True) -> tuple[list[Event], Cursor]:
        malformed: list[tuple[Any, Malformed]] = []
        with self._read_lock:
            events, last = self._events(after, details, lambda *found: malformed.append(found))
        for row, error in malformed:
            self._report(row, error)
        return events, after if last is None else _mark(last)

    def _take_own(self, after: Cursor) -> tuple[list[Any], Cursor]:
        return self._own.take(after)

    def _events(
        self, after: Cursor | None, details: bool, report: Callable[[Any, Malformed], None]
    ) -> tuple[list[Event], Any | None]:
        """Return the events after the cursor, and the row of the last one. Called under the lock for reading."""
        first = 0 if after is None else after[0]

        def decoded(rows: list[Any]) -> list[Event]:
            return decode_rows(rows, report)

        try:
            # Begin with the last row that was read before: if the file was set back, this row is missing or different.
            at_first, last, events = self._reading.events(first, decoded, details)
        except CorruptRecord:
            rows = self._reading.readable_events(first + 1, self._report_damage)
            if not (rows or first):
                raise  # no event can be read
            return decoded(rows), rows[-1] if rows else None
        if after is not None and (at_first is None or _mark(at_first) != after):
            raise CursorLost(f"{self._path} no longer holds event {first} as it was read.")
        return events, last

    def _take(self, search_id: str, n: int, cap: int | None) -> int:
        with self._writer.commit_lock, self._writing.transaction() as db:
            found = db.execute("SELECT next FROM counters WHERE search_id = ?", (search_id,)).fetchone()
            if found is not None:
                first = check_next(found[0], n, f"{self._path}, search {search_id}")
                if cap is not None and first + n > cap:
                    raise refuse(search_id, first, n, cap)
                db.execute("UPDATE counters SET next = ? WHERE search_id = ?", (first + n, search_id))
                return first
        self._search_known(search_id)  # raises with the ids of the searches if there is no such search
        raise UnknownSearch(f"search {search_id!r} of {self._path} has lost its counter.")

    def _largest(self) -> int:
        # SQLite limits the length of a row; the other columns are short.
        return self._writing.longest() - 10_000

    # -- writing ---------------------------------------------------------------------------------------

    def _pack(self, events: Sequence[Event], encoder: Encoder) -> Columns | None:
        return Columns.of(events, encoder)

    def _commit(self, batches: list[Columns]) -> None:
        """Write these batches in one transaction."""
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
        """Return the cursor after the last event of the file. Called in a transaction."""
        (last,) = db.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        if not (type(last) is int and last <= LARGEST):
            raise CorruptRecord(f"{self._path} is damaged: its last event has the number {shown(last)}.")
        if self._left is not None and self._left[0][0] == last and self._left[1] == self._writing.state:
            return self._left[0]
        try:
            row = db.execute("SELECT id, kind, search_id, number, data FROM events WHERE id = ?", (last,)).fetchone()
        except sqlite3.OperationalError as error:
            if "decode to UTF-8" not in str(error):
                raise
            row = None  # another program wrote it, so no known event is before it
        # Events that evalpool writes have numbers greater than 0, and reading begins there.
        return (max(last, 0), 0) if row is None or last < 0 else _mark(row)

    def _earlier(self, db: Any, key: tuple[str, int], last: int) -> Iterator[tuple[int, Event]]:
        """Yield a job's events up to number `last`. This is cheap: they are few, and there is an index."""
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
    """Return the cursor after this row: its number, and a hash of its contents."""
    return row[0], hash(row)


def _open(path: str, timeout: float, on_malformed: OnMalformed) -> SQLiteStorage:
    return SQLiteStorage(path, timeout=timeout, on_malformed=on_malformed)
