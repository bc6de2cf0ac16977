"""One connection to an SQLite file: opens it, refuses files of other programs, runs transactions, and explains errors.

A file that cannot be written can still be read. Where SQLite may not make its shared memory beside the file, it cannot
open the file in the usual way. Then the file is opened as immutable, and opened again whenever it has changed. If a
writer that was killed has left a log beside the file, a copy of both is opened.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import lt
from typing import Any, TypeVar
from urllib.parse import quote

from evalpool._clock import monotonic
from evalpool._text import shown
from evalpool.errors import BadArgument, CorruptRecord, NewerSchema, StorageError, StorageUnavailable
from evalpool.storage._events import SCHEMA_VERSION
from evalpool.storage._fork import abandon
from evalpool.storage._mounts import network_file_system
from evalpool.storage._place import Place
from evalpool.storage._sqlite_check import Steps, check_tables, guard
from evalpool.storage._sqlite_salvage import readable_events

__all__ = ["SQLiteFile"]

APPLICATION_ID = 0x65766C70  # "evlp"; evalpool, and the program `file`, recognise the file by it
_POLL = 0.01
_PAGES_IN_LOG = 4000
"""After so many pages, 16 MB, the log is copied into the file. The commit that does this flushes both to the disk,
which takes milliseconds. A job writes ten pages, so with SQLite's default, 1000, it would be every hundredth job."""
_PAGE = 1000
"""Rows that are fetched at once; after each page, the count of SQLite's steps begins at 0 again."""

# Columns that end in _event hold numbers of events, so that the JSON of a job is in the file only once.
_TABLES = f"""
CREATE TABLE events (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, search_id TEXT NOT NULL, number INTEGER, data TEXT NOT NULL
);
CREATE INDEX events_of_job ON events (search_id, number) WHERE number IS NOT NULL;
CREATE TABLE counters (search_id TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('', 0);
CREATE TABLE job_rows (
    search_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    owner TEXT,
    created_event INTEGER,
    in_event INTEGER,
    finished_event INTEGER,
    out_event INTEGER,
    timestamp_gather REAL,
    PRIMARY KEY (search_id, number)
) WITHOUT ROWID;
CREATE VIEW jobs AS
    SELECT
        job.search_id || '.' || job.number AS job_id,
        job.search_id,
        job.number,
        job.status,
        coalesce(json_extract(finished.data, '$.objective'), json_extract(stored.data, '$.out.objective'),
            json_extract(stored.data, '$.out')) AS objective,
        json_extract(coalesce(given.data, created.data), '$.args') AS configuration,
        coalesce(json_extract(stored.data, '$.out'), json_extract(finished.data, '$.output')) AS output,
        json_extract(created.data, '$.options') AS options,
        json_extract(finished.data, '$.metadata') AS metadata,
        json_extract(finished.data, '$.kind') AS kind,
        json_extract(finished.data, '$.error') AS error,
        job.attempts,
        json_extract(created.data, '$.submit') AS timestamp_submit,
        json_extract(finished.data, '$.timestamp_start') AS timestamp_start,
        json_extract(finished.data, '$.timestamp_end') AS timestamp_end,
        job.timestamp_gather,
        json_extract(finished.data, '$.worker') AS worker,
        json_extract(finished.data, '$.host') AS host,
        json_extract(finished.data, '$.pid') AS pid,
        job.owner
    FROM job_rows AS job
        LEFT JOIN events AS created ON created.id = job.created_event
        LEFT JOIN events AS given ON given.id = job.in_event
        LEFT JOIN events AS finished ON finished.id = job.finished_event
        LEFT JOIN events AS stored ON stored.id = job.out_event;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

# Of a job that has ended in its first attempt, and whose end says where it ran, the start adds nothing to status, end,
# failure or worker. Its row shows this, which was written in one transaction with the end.
_DETAILS = """(
    event.id < (SELECT max(id) FROM events)
    AND (
        event.kind = 'gathered'
        OR event.kind = 'started' AND EXISTS (
            SELECT 1 FROM job_rows AS job JOIN events AS finished ON finished.id = job.finished_event
            WHERE job.search_id = event.search_id AND job.number = event.number AND job.attempts = 1
                AND job.finished_event > event.id AND instr(finished.data, '"worker":"')
        )
    )
)"""


Item = TypeVar("Item")


class SQLiteFile:
    """A connection, which is opened when the object is made, and in a forked child when it is first used.

    One thread at a time. Raises `StorageUnavailable`, `CorruptRecord` or `NewerSchema` instead of SQLite's errors.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._log = ""  # of the file that the path names, also if that is a link; known when it is opened
        self._timeout = timeout
        self._closed = False
        self._places: list[Place] = []  # of the file, and of its log once there is one, if they can be written
        self._found: os.stat_result | None = None  # the status of the path when the connection was last used
        self._written: tuple[int, int] | None = None  # size and time of the file without its log, when last used
        self.state = 0  # increases whenever the file without its log may have changed
        self._steps = Steps()
        self._read_only: tuple[int, ...] | None = None  # if the file cannot be written: its state when it was opened
        self._db: sqlite3.Connection | None = self._open()

    def events(
        self, first: int, decode: Callable[[list[Any]], list[Item]], details: bool = True
    ) -> tuple[Any | None, Any | None, list[Item]]:
        """Read the events from number `first` on, in order, as they were at one moment.

        Returns the row of `first`, if that is not 0; the last row; and what `decode` made of those after `first`.

        Args:
            decode: turns some rows into what is kept of them. Called before the next rows are read, so that millions of
                rows never stand in memory together.
            details: whether also those are read that `Storage.read_without_details` leaves out. The last always is.
        """
        with self._explained():
            if self._read_only is not None and self._read_only != self._state():
                self._reopen()
            db = self._connection()
            try:
                return self._events(db, first, decode, details)
            except sqlite3.OperationalError as error:
                if "decode to UTF-8" not in str(error):
                    raise
            # Another program wrote bytes that are not UTF-8. Replace them, so that only their row is refused later.
            try:
                db.text_factory = lambda raw: raw.decode("utf-8", "replace")
                return self._events(db, first, decode, details)
            finally:
                db.text_factory = str

    def _events(
        self, db: sqlite3.Connection, first: int, decode: Callable[[list[Any]], list[Item]], details: bool
    ) -> tuple[Any | None, Any | None, list[Item]]:
        self._steps.begin()
        items: list[Item] = []
        at_first = last = None
        before = first - 1
        left_out = "" if details else f"AND NOT {_DETAILS}"
        cursor = db.execute(
            f"SELECT id, kind, search_id, number, data FROM events AS event WHERE id >= ? {left_out} ORDER BY id",
            (first,),
        )
        # If numbers do not increase, the links between the file's pages form a circle, which has no end.
        while page := cursor.fetchmany(_PAGE):
            numbers = [row[0] for row in page]
            if set(map(type, numbers)) != {int} or not all(map(lt, [before, *numbers], numbers)):
                for number in numbers:
                    if type(number) is not int or number <= before:
                        raise CorruptRecord(f"{self._path} is damaged: event {shown(number)} follows event {before}.")
                    before = number
            before = numbers[-1]
            last = page[-1]
            if first and page[0][0] == first:
                at_first = page.pop(0)
            items += decode(page)
            self._steps.begin()
        return at_first, last, items

    def readable_events(self, first: int, report: Callable[[str, str], None]) -> list[Any]:
        """Return the rows of a damaged file that can be read: see `evalpool.storage._sqlite_salvage`."""
        with self._explained():
            db = self._connection()
            try:
                db.text_factory = lambda raw: raw.decode("utf-8", "replace")
                return readable_events(db, first, report, self._steps.begin)
            finally:
                db.text_factory = str

    def transaction(self) -> Transaction:
        """Return a context manager: a transaction with the lock for writing, rolled back if the block raises."""
        return Transaction(self)

    def _begin(self) -> sqlite3.Connection:
        if self._read_only is not None:
            self._reopen()
            if self._read_only is not None:
                raise self._unwritable("its file system is read-only, or its directory cannot be written")
        db = self._connection()
        try:
            # IMMEDIATE, because a transaction that has begun by reading cannot wait for the lock for writing later.
            self._steps.begin()
            db.execute("BEGIN IMMEDIATE")
            if len(self._places) == 2:
                self._check_again()
            else:  # the log exists from the first transaction until the last connection is closed
                self._places = [self._place, Place(self._log)]
        except BaseException:
            self._roll_back(db)
            raise
        return db

    def _roll_back(self, db: sqlite3.Connection) -> None:
        if db.in_transaction:
            db.execute("ROLLBACK")

    def _check_again(self) -> None:
        """Do what `check_still_there` does, with the status that `_connection` read: `stat` releases the GIL."""
        file, log = self._places
        if self._found is None:
            file.check(self._path)
        else:
            file.compare(self._found, self._path)
        log.check(self._path)

    def longest(self) -> int:
        """Return the most bytes that a row may have."""
        limit = getattr(self._connection(), "getlimit", None)
        # Python 3.10 cannot ask for the limit; this is SQLite's default. 0 is SQLITE_LIMIT_LENGTH.
        return 1_000_000_000 if limit is None else int(limit(0))

    def check_still_there(self) -> None:
        """Raise `StorageUnavailable` if the file at the path is no longer the one that this connection wrote to."""
        for place in self._places:
            place.check(self._path)

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._closed = True
        self.rest()

    def rest(self) -> None:
        """Release the file until it is used again."""
        self._places = []  # SQLite deletes the log with the last connection
        db, self._db = self._db, None
        if db is not None:
            self._closing.detach()
            db.close()

    def abandon(self) -> None:
        """In a forked child: do not use the parent's connection; a new one is opened when it is needed."""
        if self._db is not None:
            self._closing.detach()
            abandon(self._db)
            self._db = None

    # -- opening ---------------------------------------------------------------------------------------

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            if self._closed:
                raise StorageUnavailable(f"SQLiteStorage({self._path!r}) is closed; make a new one to go on.")
            self._db = self._open()
        try:
            found = self._found = os.stat(self._path)
        except OSError:  # the check of places will report it
            self._found = None
            return self._db
        written = (found.st_size, found.st_mtime_ns)
        if written != self._written:
            # A checkpoint changed the file, or someone copied a backup over it. SQLite finds out from its log whether
            # the pages that it keeps in memory are still valid, and the log does not show the copy.
            self._written = written
            self.state += 1
            self._db.execute("PRAGMA shrink_memory")
        return self._db

    def _reopen(self) -> None:
        self.rest()
        self._db = self._open()

    def _state(self) -> tuple[int, ...]:
        """Return values that change when somebody writes to the file or its log."""
        found = [os.stat(path) if os.path.exists(path) else None for path in (self._path, self._log)]
        return tuple(part for one in found if one is not None for part in (one.st_ino, one.st_size, one.st_mtime_ns))

    def _open(self) -> sqlite3.Connection:
        self._check_place()
        self._log = os.path.realpath(self._path) + "-wal"  # as SQLite names it
        self.state += 1
        with self._explained():
            self._read_only = None
            try:
                db = self._connect(self._path)
            except sqlite3.OperationalError as error:
                if not (_is_unwritable(str(error)) and os.path.exists(self._path) and os.path.getsize(self._path)):
                    raise
                return self._open_read_only()
            self._places, self._place = [], Place(self._path)
            return db

    def _open_read_only(self) -> sqlite3.Connection:
        state = self._state()
        log = self._log
        if os.path.exists(log) and os.path.getsize(log):
            with tempfile.TemporaryDirectory(prefix="evalpool-") as directory:
                copy = os.path.join(directory, "copy.db")
                shutil.copyfile(self._path, copy)
                shutil.copyfile(log, copy + "-wal")
                db = self._connect(copy)  # this reads the log; the copies may then be removed
        else:
            db = self._connect(f"file:{quote(self._path, errors='surrogateescape')}?immutable=1", is_uri=True)
        self._read_only = state
        return db

    def _connect(self, path: str, is_uri: bool = False) -> sqlite3.Connection:
        # Autocommit (None), since we write BEGIN ourselves. Many threads use the connection, one at a time.
        db = sqlite3.connect(path, timeout=self._timeout, isolation_level=None, check_same_thread=False, uri=is_uri)
        try:
            # A schema that someone else wrote must not call functions with side effects.
            db.execute("PRAGMA trusted_schema = OFF")
            # In one transaction, since another process may be making the tables.
            db.execute("BEGIN")
            is_ours = self._is_ours(db)
            db.execute("COMMIT")
            if not is_ours:
                self._create(db)
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_IN_LOG}")
            guard(db, self._steps)
        except BaseException:
            db.close()
            raise
        # Whoever drops a storage without closing it gets no ResourceWarning. At the end of the program `rest` comes
        # after what is written then, which a finalizer may not wait for.
        self._closing = weakref.finalize(self, db.close)
        self._closing.atexit = False
        return db

    def _check_place(self) -> None:
        # This must not open the file: closing it again would release every lock that this process has on it through
        # SQLite (POSIX locks belong to the process, not to the descriptor), and updates would be lost.
        directory = os.path.dirname(self._path)
        if not os.path.isdir(directory):
            raise StorageUnavailable(f"{self._path}: there is no directory {directory}; make it first.")
        if os.path.isdir(self._path):
            raise BadArgument(f"{self._path} is a directory; give the path of a file in it, as results.db.")
        network = network_file_system(self._path)
        if network is not None:
            raise StorageUnavailable(
                f"{self._path} is on a network file system ({network}), which does not have the locks and the "
                "shared memory that SQLite needs. Use JournalStorage(directory) there, or a local disk."
            )

    def _is_ours(self, db: sqlite3.Connection) -> bool:
        """Whether the file has our tables already; False if it is new. Raises if it belongs to another program."""
        (application,) = db.execute("PRAGMA application_id").fetchone()
        if application == APPLICATION_ID:
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            if schema > SCHEMA_VERSION:  # checked first, as a later schema may have other tables
                raise NewerSchema(
                    f"{self._path} was written by a later evalpool: schema {schema}, and this one knows "
                    f"{SCHEMA_VERSION}. Upgrade evalpool to use it."
                )
            check_tables(db, self._path, _TABLES)
            return True
        names = [str(name) for (name,) in db.execute("SELECT name FROM sqlite_master LIMIT 3")]
        if names or application:
            raise CorruptRecord(
                f"{self._path} is the database of another program, with {', '.join(names) or 'its own mark'}. "
                + _ELSEWHERE
            )
        return False

    def _create(self, db: sqlite3.Connection) -> None:
        self._use_wal(db)
        db.execute("BEGIN IMMEDIATE")
        try:
            if not self._is_ours(db):  # asked again, as another process may have made the tables meanwhile
                for statement in _TABLES.split(";\n"):
                    db.execute(statement)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _use_wal(self, db: sqlite3.Connection) -> None:
        # When two processes change the mode at the same time, SQLite reports "locked" at once and does not wait, as it
        # does for other statements. So the loop here waits.
        deadline = monotonic() + self._timeout
        pause = threading.Event()
        while True:
            try:
                (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or monotonic() > deadline:
                    raise
                pause.wait(_POLL)
        if mode != "wal":
            raise StorageUnavailable(
                f"the file system of {self._path} does not allow write-ahead logging (SQLite chose {mode!r}). "
                "Use JournalStorage(directory) there, or a local disk."
            )

    # -- errors ----------------------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise a `StorageError` with an explanation instead of an error of SQLite."""
        try:
            yield
        except SQLITE_ERRORS as error:
            raise self.explained(error) from _cause(error)

    def explained(self, error: sqlite3.Error | UnicodeDecodeError) -> StorageError:
        """Return a `StorageError` that says what happened, and what to do."""
        text = str(error)
        if "not a database" in text:
            return CorruptRecord(f"{self._path} is not an SQLite database. {_ELSEWHERE}")
        if "malformed" in text or isinstance(error, UnicodeDecodeError):
            return CorruptRecord(
                f"{self._path} is damaged: SQLite says {text!r}. `sqlite3 {self._path} .recover` may help."
            )
        if "locked" in text or "busy" in text:
            return StorageUnavailable(
                f"{self._path} has been locked by another process for {self._timeout:g} seconds; end the one "
                "that holds it, or give a longer timeout."
            )
        if "not authorized" in text or "prohibited" in text:
            return CorruptRecord(
                f"another program has put views or triggers in place of evalpool's tables in {self._path}: {text}."
            )
        if text == "interrupted":
            return CorruptRecord(f"{self._path} is damaged: reading it did not end, so it was stopped.")
        if "full" in text:
            return StorageUnavailable(f"the disk of {self._path} is full; free some space.")
        if _is_unwritable(text):
            return self._unwritable(f"SQLite says {text!r}")
        return StorageUnavailable(f"{self._path} cannot be used: SQLite says {text!r}.")

    def _unwritable(self, reason: str) -> StorageUnavailable:
        return StorageUnavailable(f"{self._path} cannot be written: {reason}. Check its permissions.")


class Transaction:
    """See `SQLiteFile.transaction`. A class, since making a generator would take longer than BEGIN and COMMIT."""

    __slots__ = ("_db", "_file")

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._db = self._file._begin()
        except SQLITE_ERRORS as error:
            raise self._file.explained(error) from _cause(error)
        return self._db

    def __exit__(self, kind: Any, raised: BaseException | None, trace: Any) -> None:
        try:
            try:
                if raised is None:
                    self._db.execute("COMMIT")
            finally:
                self._file._roll_back(self._db)  # unless it was committed
            if isinstance(raised, SQLITE_ERRORS):
                raise raised
        except SQLITE_ERRORS as error:
            raise self._file.explained(error) from _cause(error)


SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""The errors that `sqlite3` raises. SQLite's messages quote names in the file, which may not be valid UTF-8."""


def _cause(error: BaseException) -> BaseException | None:
    """Return the error as a cause; None if its text has control characters, which a traceback would print."""
    return error if str(error).isprintable() else None


def _is_unwritable(text: str) -> bool:
    return "readonly" in text or "unable to open" in text


_ELSEWHERE = "Nothing was changed; give another path."
