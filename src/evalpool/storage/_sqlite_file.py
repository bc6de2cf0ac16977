"""One connection to an SQLite file of ours: opening, refusing what is not ours, transactions, errors in words.

A file that cannot be written can be looked at. SQLite itself cannot where it may make no shared memory beside the file:
then the file is opened as one that does not change (and again whenever it has), or, if a writer that was killed has
left a log beside it, a copy of both is.
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
from typing import Any
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

APPLICATION_ID = 0x65766C70  # "evlp", by which we, and `file`, know the file
_POLL = 0.01
_PAGE = 1000
"""Rows after which we take note that a statement gets on."""

# Numbers of events, where a column ends in _event; so that the JSON of a job stands in the file once.
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


class SQLiteFile:
    """A connection that opens when it is first used in a process, and the first time when it is made.

    One thread at a time. Raises `StorageUnavailable`, `CorruptRecord` or `NewerSchema`, in words.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._closed = False
        self._places: list[Place] = []  # of the file, and of its log once there is one; those that we write
        self._found: os.stat_result | None = None  # what the path named when the connection was last used
        self._written: tuple[int, int] | None = None  # size and time of the file itself, when last used
        self.state = 0  # another number whenever the file itself may be another than before
        self._steps = Steps()
        self._looks_at: tuple[int, ...] | None = None  # the state of a file that we may not write, when it was opened
        self._db: sqlite3.Connection | None = self._open()

    def events(self, first: int) -> list[Any]:
        """All rows of the events from number `first` on, in their order and of one moment."""
        with self._in_words():
            if self._looks_at is not None and self._looks_at != self._state():
                self._reopen()
            db = self._connection()
            try:
                return self._rows(db, first)
            except sqlite3.OperationalError as error:
                if "decode to UTF-8" not in str(error):
                    raise
            # Bytes that are no text, which only another program writes: the row is reported, not all refused.
            try:
                db.text_factory = lambda raw: raw.decode("utf-8", "replace")
                return self._rows(db, first)
            finally:
                db.text_factory = str

    def _rows(self, db: sqlite3.Connection, first: int) -> list[Any]:
        self._steps.begin()
        rows: list[Any] = []
        before = first - 1
        cursor = db.execute("SELECT id, kind, search_id, number, data FROM events WHERE id >= ? ORDER BY id", (first,))
        # Each number is above the one before, else the file's pages form a circle and there is no end of them.
        while page := cursor.fetchmany(_PAGE):
            for row in page:
                number = row[0]
                if type(number) is not int or number <= before:
                    raise CorruptRecord(f"{self._path} is damaged: event {shown(number)} follows event {before}.")
                before = number
            rows += page
            self._steps.begin()
        return rows

    def readable_events(self, first: int, report: Callable[[str, str], None]) -> list[Any]:
        """Of a damaged file: see `evalpool.storage._sqlite_salvage`."""
        with self._in_words():
            db = self._connection()
            try:
                db.text_factory = lambda raw: raw.decode("utf-8", "replace")
                return readable_events(db, first, report, self._steps.begin)
            finally:
                db.text_factory = str

    def transaction(self) -> Transaction:
        """A transaction that may write, from its first statement on; rolled back if the block raises."""
        return Transaction(self)

    def _begin(self) -> sqlite3.Connection:
        if self._looks_at is not None:
            self._reopen()
            if self._looks_at is not None:
                raise self._unwritable("it is on a read-only place, or its directory may not be written")
        db = self._connection()
        try:
            # IMMEDIATE: a transaction that begins by reading cannot wait for the lock when it comes to write.
            self._steps.begin()
            db.execute("BEGIN IMMEDIATE")
            if len(self._places) == 2:
                self._check_again()
            else:  # there is a log from the first transaction on, until the last connection is closed
                self._places = [self._place, Place(self._path + "-wal")]
        except BaseException:
            self._roll_back(db)
            raise
        return db

    def _roll_back(self, db: sqlite3.Connection) -> None:
        if db.in_transaction:
            db.execute("ROLLBACK")

    def _check_again(self) -> None:
        """As `check_still_there`, with what `_connection` has just asked: to ask lets other threads go first."""
        file, log = self._places
        if self._found is None:
            file.check(self._path)
        else:
            file.compare(self._found, self._path)
        log.check(self._path)

    def longest(self) -> int:
        """Bytes that a row may have."""
        limit = getattr(self._connection(), "getlimit", None)
        # Python 3.10 cannot ask: as SQLite is compiled, if nobody chose otherwise. 0 is SQLITE_LIMIT_LENGTH.
        return 1_000_000_000 if limit is None else int(limit(0))

    def check_still_there(self) -> None:
        """Raise `StorageUnavailable` if the path no longer names the file that this connection has written to."""
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
        """In a forked child: leave the parent's connection alone and open one when it is needed."""
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
        except OSError:  # for the check of places to say
            self._found = None
            return self._db
        written = (found.st_size, found.st_mtime_ns)
        if written != self._written:
            # By a checkpoint, or by someone who copied a backup over it. SQLite asks its log whether the pages that it
            # keeps in memory are still those of the file, and the log does not know of the copy.
            self._written = written
            self.state += 1
            self._db.execute("PRAGMA shrink_memory")
        return self._db

    def _reopen(self) -> None:
        self.rest()
        self._db = self._open()

    def _state(self) -> tuple[int, ...]:
        """What changes when somebody writes to the file."""
        found = [os.stat(path) if os.path.exists(path) else None for path in (self._path, self._path + "-wal")]
        return tuple(part for one in found if one is not None for part in (one.st_ino, one.st_size, one.st_mtime_ns))

    def _open(self) -> sqlite3.Connection:
        self._check_place()
        self.state += 1
        with self._in_words():
            self._looks_at = None
            try:
                db = self._connect(self._path)
            except sqlite3.OperationalError as error:
                if not (_is_unwritable(str(error)) and os.path.exists(self._path) and os.path.getsize(self._path)):
                    raise
                return self._open_to_look()
            self._places, self._place = [], Place(self._path)
            return db

    def _open_to_look(self) -> sqlite3.Connection:
        state = self._state()
        log = self._path + "-wal"
        if os.path.exists(log) and os.path.getsize(log):
            with tempfile.TemporaryDirectory(prefix="evalpool-") as directory:
                copy = os.path.join(directory, "copy.db")
                shutil.copyfile(self._path, copy)
                shutil.copyfile(log, copy + "-wal")
                db = self._connect(copy)  # which has read the log; from here on the files need no names
        else:
            db = self._connect(f"file:{quote(self._path)}?immutable=1", is_uri=True)
        self._looks_at = state
        return db

    def _connect(self, path: str, is_uri: bool = False) -> sqlite3.Connection:
        # Autocommit (None), for our own BEGIN; used by many threads, one at a time.
        db = sqlite3.connect(path, timeout=self._timeout, isolation_level=None, check_same_thread=False, uri=is_uri)
        try:
            # A schema that someone else wrote runs no function that has effects.
            db.execute("PRAGMA trusted_schema = OFF")
            # One transaction, so that what it looks at is of one moment: another may be making the tables.
            db.execute("BEGIN")
            is_ours = self._is_ours(db)
            db.execute("COMMIT")
            if not is_ours:
                self._create(db)
            db.execute("PRAGMA synchronous = NORMAL")
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
        # Nothing here may open the file: closing it again would release every lock that this process holds on
        # it through SQLite (POSIX locks are the process's, not the descriptor's), and updates would be lost.
        directory = os.path.dirname(self._path)
        if not os.path.isdir(directory):
            raise StorageUnavailable(f"{self._path}: there is no directory {directory}; make it first.")
        if os.path.isdir(self._path):
            raise BadArgument(f"{self._path} is a directory; give the path of a file in it, as results.db.")
        network = network_file_system(self._path)
        if network is not None:
            raise StorageUnavailable(
                f"{self._path} is on a network file system ({network}), which does not keep the locks and the "
                "shared memory that SQLite needs. Use JournalStorage(directory) there, or a local disk."
            )

    def _is_ours(self, db: sqlite3.Connection) -> bool:
        """Whether the file holds our tables already; False if it is new. Raises if it is someone else's."""
        (application,) = db.execute("PRAGMA application_id").fetchone()
        if application == APPLICATION_ID:
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            if schema > SCHEMA_VERSION:  # first: a later one may have other tables
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
            if not self._is_ours(db):  # or someone was faster
                for statement in _TABLES.split(";\n"):
                    db.execute(statement)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _use_wal(self, db: sqlite3.Connection) -> None:
        # Two processes that change the mode at once do not wait for each other as everywhere else: SQLite
        # says "locked" at once, so the waiting is done here.
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
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except WORDLESS as error:
            raise self.in_words(error) from _cause(error)

    def in_words(self, error: sqlite3.Error | UnicodeDecodeError) -> StorageError:
        text = str(error)
        if "not a database" in text:
            return CorruptRecord(f"{self._path} is no SQLite database. {_ELSEWHERE}")
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
            return CorruptRecord(f"{self._path} has got views or triggers in the place of our tables: {text}.")
        if text == "interrupted":
            return CorruptRecord(f"{self._path} is damaged: a look at it found no end.")
        if "full" in text:
            return StorageUnavailable(f"the disk of {self._path} is full; free some space.")
        if _is_unwritable(text):
            return self._unwritable(f"SQLite says {text!r}")
        return StorageUnavailable(f"{self._path} cannot be used: SQLite says {text!r}.")

    def _unwritable(self, reason: str) -> StorageUnavailable:
        return StorageUnavailable(f"{self._path} cannot be written: {reason}. Check its permissions.")


class Transaction:
    """`SQLiteFile.transaction`; a class, since a generator for each would take longer than to begin and to commit."""

    __slots__ = ("_db", "_file")

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._db = self._file._begin()
        except WORDLESS as error:
            raise self._file.in_words(error) from _cause(error)
        return self._db

    def __exit__(self, kind: Any, raised: BaseException | None, trace: Any) -> None:
        try:
            try:
                if raised is None:
                    self._db.execute("COMMIT")
            finally:
                self._file._roll_back(self._db)  # what was not committed
            if isinstance(raised, WORDLESS):
                raise raised
        except WORDLESS as error:
            raise self._file.in_words(error) from _cause(error)


WORDLESS = (sqlite3.Error, UnicodeDecodeError)
"""What the module raises: SQLite quotes names of the file, which may be no text."""


def _cause(error: BaseException) -> BaseException | None:
    """A traceback shows the cause as it is, and the terminal obeys it."""
    return error if str(error).isprintable() else None


def _is_unwritable(text: str) -> bool:
    return "readonly" in text or "unable to open" in text


_ELSEWHERE = "Nothing was changed; give another path."
