"""A storage in a directory that needs no locks, so hosts can share it over a network file system.

::

    directory/
      evalpool-journal.json      says that this directory is a journal, and its schema
      writers/<owner>.log        an append-only file of one writer; no other process writes to it
      numbers/<search>/<first>   -> "<n>:<token>": n numbers from `first` are taken
      claims/<search>.<n>.<attempt> -> the owner that runs a lost job again

When only one of several hosts may get something, symbolic links decide. Making a link is a single operation that fails
if the name exists, on every POSIX file system and on every version of NFS, and the link has its text from the start,
while a new file is empty. (Emacs has locked files in this way for decades.) The links for the numbers of a search form
a chain: each begins where the one before ends, so numbers have no gaps and a cap is exact.

Writers share no clock and no order. So each record has a hybrid logical clock: the wall clock in microseconds, but
always later than all records that its writer has read or written. Readers sort by it, and the fold inserts an event
that is read late at its position.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import uuid
from collections.abc import Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from evalpool._clock import unix_time_ns
from evalpool._json import from_json, to_json
from evalpool.errors import BadArgument, CorruptRecord, NewerSchema, StorageUnavailable, UnknownSearch
from evalpool.storage._base import SEARCHES, Cursor, Sharing, path_of
from evalpool.storage._codec import Malformed, OnMalformed, Reporter, from_wire, loads, to_items
from evalpool.storage._columns import Columns
from evalpool.storage._durable import DurableStorage
from evalpool.storage._events import SCHEMA_VERSION, Event
from evalpool.storage._journal_files import (
    JournalReader,
    JournalWriter,
    Record,
    file_name,
    unavailable,
    without_waiting,
)
from evalpool.storage._journal_numbers import NumberChain, claim
from evalpool.storage._leases import is_lost, new_owner, owner_lives
from evalpool.storage._mounts import network_file_system
from evalpool.storage._own_writes import OwnWrites
from evalpool.storage._place import Place
from evalpool.storage._written import Encoder

__all__ = ["JournalStorage"]

MARKER = "evalpool-journal.json"
_FORMAT = "evalpool journal"
_LONGEST_MARKER = 4096
"""Bytes that are read of the marker at most; ours has some dozens."""

_WITHOUT_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems without hard links answer to `os.link`."""

LAST = 2**62
"""The largest clock of a record, in microseconds: a hundred thousand years. Clocks of hosts may be ahead by days or
years. A writer that has read records of such a host gives its own records later clocks, so the order stays right."""


class _Records(NamedTuple):
    """A batch: its events, the number of events in each record, and the records without their clocks."""

    events: Columns
    sizes: list[int] | None  # None if each record has one event
    texts: list[str]


class JournalStorage(DurableStorage[_Records]):
    """Keeps events in files of `directory`, which all hosts that reach it can share. It is made if it does not exist.

    On a local disk, a commit is handed to the operating system, so it survives the death of the process, and is flushed
    to the disk once a second while events are written. On a network file system, each commit is flushed to the server,
    since other hosts do not see it before.

    Args:
        directory: its parent must exist. A directory with other contents than a journal is refused.
        on_malformed: what to do about a record that cannot be read: ``"skip"`` it with a warning in the log,
            or ``"raise"`` `CorruptRecord`. The incomplete last record of a writer that was killed is one, too.
    """

    shared = Sharing.HOSTS

    def __init__(self, directory: str | os.PathLike[str], *, on_malformed: OnMalformed = "skip") -> None:
        super().__init__()
        self._directory = path_of(directory)
        self._reporter = Reporter(on_malformed)
        try:
            self._prepare()
        except OSError as error:
            if isinstance(error, StorageUnavailable):
                raise
            raise unavailable(error, self._directory, "make a journal") from error
        self._network = network_file_system(self._directory) is not None
        self._reader = JournalReader(self._path("writers"), self._reporter, reopen=self._network)
        self._begin()
        self._begin_writing(self._directory, remote=False)

    def _begin(self) -> None:
        """Make what only this process uses."""
        self._owner = new_owner()
        self._file = JournalWriter(self._path("writers"), self._owner, sync_each=self._network)
        self._read_lock = threading.Lock()
        self._clock = 0
        self._own = OwnWrites()
        self._chains: dict[str, NumberChain] = {SEARCHES: NumberChain(self._path("numbers", "searches"), "")}

    # -- primitives ------------------------------------------------------------------------------------

    def append(self, events: Sequence[Event]) -> None:
        self._make_searches(events)
        super().append(events)

    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        offsets = dict(after or {})
        events: list[Event] = []
        try:
            with self._read_lock:
                for name, records in self._reader.read(offsets):
                    events += self._events_of(name, records)
                if events:
                    events.sort(key=_place)
                    self._clock = max(self._clock, _place(events[-1])[0])
        except OSError as error:
            if isinstance(error, StorageUnavailable):
                raise
            raise unavailable(error, self._directory, "read the journal") from error
        return events, offsets

    def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
        self._place.check(self._directory)  # first, as its error says what happened to the directory
        return super().reserve(search_id, n, cap)

    def _take(self, search_id: str, n: int, cap: int | None) -> int:
        chain = self._chains.get(search_id)
        if chain is None:
            self._search_known(search_id)
            self._check_id(search_id)
            os.makedirs(self._path("numbers", search_id), exist_ok=True)  # a copy may lack empty directories
            chain = self._chains.setdefault(search_id, NumberChain(self._path("numbers", search_id), search_id))
        try:
            return chain.take(n, cap)
        except OSError as error:
            raise unavailable(error, self._path("numbers", search_id), "take numbers for jobs") from error

    # -- writing ---------------------------------------------------------------------------------------

    def _pack(self, events: Sequence[Event], encoder: Encoder) -> _Records | None:
        """Make one record for each job, so that a damaged record concerns one job only."""
        columns = Columns.of(events, encoder)
        if columns is None:
            return None
        sizes = columns.group_by_job()
        items = list(to_items(zip(columns.kinds, columns.search_ids, columns.numbers, columns.texts, strict=True)))
        if sizes is None:
            return _Records(columns, None, [f"[{item}]" for item in items])
        left = iter(items)
        return _Records(columns, sizes, [f"[{','.join(islice(left, size))}]" for size in sizes])

    def _commit(self, batches: list[_Records]) -> None:
        """Write all records in one write, each with its own clock."""
        self._check_open()
        self._place.check(self._directory)
        records = list(chain.from_iterable(batch.texts for batch in batches))
        with self._read_lock:
            first = max(unix_time_ns() // 1000, self._clock + 1)
            self._clock = first + len(records) - 1
        texts = [f"[{clock},{record}]".encode("ascii") for clock, record in enumerate(records, first)]
        which, begin, end = self._file.write(texts)
        if all(batch.events.readable for batch in batches):
            fields = _fields(batches, first, file_name(self._owner, which))
            self._own.add((which, begin), (which, end), fields)

    def _take_own(self, after: Cursor) -> tuple[list[Any], Cursor]:
        which = self._file.which
        name = file_name(self._owner, which)
        fields, (_, end) = self._own.take((which, after.get(name, 0)))
        return fields, {**after, name: end} if fields else after

    def _make_searches(self, events: Sequence[Event]) -> None:
        """Make the directories for the numbers of new searches, before other clients can read of these searches."""
        for event in events:
            if event.kind == "search":
                self._check_id(event.search_id)
                path = self._path("numbers", event.search_id)
                try:
                    os.makedirs(path, exist_ok=True)
                except OSError as error:
                    raise unavailable(error, path, "make a search") from error

    def _claim(self, search_id: str, number: int, attempt: int, owner: str) -> int | None:
        while True:
            path = self._path("claims", f"{search_id}.{number}.{attempt}")
            try:
                holder = claim(path, owner)
            except OSError as error:
                raise unavailable(error, path, "claim a lost job") from error
            if holder == owner:
                return attempt
            # The claim may be newer than what was read here. Its owner took a lease before, so read again to see it.
            search = self._search(search_id)
            job = search.jobs[number]
            if owner_lives(search, holder) or not is_lost(search, job, owner):
                return None
            attempt = max(attempt, job.attempt) + 1  # its owner has ended, before or after it recorded its claim

    # -- reading ---------------------------------------------------------------------------------------

    def _events_of(self, name: str, records: list[Record]) -> list[Event]:
        """Return the events of these records of one writer."""
        events: list[Event] = []
        for position, payload in records:
            try:
                clock, items = loads(payload)
                if type(clock) is not int or not 0 <= clock <= LAST:
                    raise Malformed("a record is a list of a clock and events")
                events += from_wire(items, (clock, name))
            except (ValueError, TypeError):  # decode it again: report what is malformed, and keep the rest
                events += self._events(name, position, payload)
        return events

    def _events(self, name: str, position: int, payload: bytes) -> list[Event]:
        place = f"{self._path('writers', name)}, byte {position}"
        try:
            record = loads(payload)
            if not (isinstance(record, list) and len(record) == 2 and type(record[0]) is int):
                raise Malformed("a record is a list of a clock and events")
            if not 0 <= record[0] <= LAST:
                raise Malformed(f"its clock is {record[0]}, and clocks are numbers from 0 to {LAST}")
            return self._unpack(record[1], place, (record[0], name))
        except ValueError as error:
            self._reporter.report(place, str(error))
            return []

    # -- the directory ---------------------------------------------------------------------------------

    def _path(self, *parts: str) -> str:
        return os.path.join(self._directory, *parts)

    def _check_id(self, search_id: str) -> None:
        # The id is the name of a directory; a log that someone else wrote must not lead us to another one.
        if not (search_id.isascii() and search_id.isdigit()):
            raise UnknownSearch(f"there is no search {search_id!r}: the ids of searches in a journal are numbers.")

    def _prepare(self) -> None:
        parent = os.path.dirname(self._directory)
        if not os.path.isdir(parent):
            raise StorageUnavailable(f"{self._directory}: there is no directory {parent}; make it first.")
        if os.path.exists(self._directory) and not os.path.isdir(self._directory):
            raise BadArgument(f"{self._directory} is a file; a journal is a directory.")
        if not self._is_ours():
            os.makedirs(self._directory, exist_ok=True)
            others = [name for name in os.listdir(self._directory) if not name.startswith(".")]
            if others and not self._is_ours():  # asked again, as another process may have made it meanwhile
                raise CorruptRecord(
                    f"{self._directory} is no journal of evalpool; it holds {', '.join(sorted(others)[:3])}. "
                    "Nothing was changed; give a new or an empty directory."
                )
            self._mark()
        self._place = Place(self._path(MARKER))
        for name in ("writers", "claims", os.path.join("numbers", "searches")):
            if not os.path.isdir(self._path(name)):
                try:
                    os.makedirs(self._path(name), exist_ok=True)
                except OSError as error:  # a read-only copy that lacks empty directories can still be read
                    if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                        raise

    def _mark(self) -> None:
        # Write it under another name and link it, so that every process that sees the marker sees all of it, and of
        # several that make one journal at the same moment none replaces the marker that another one has seen.
        draft = self._path(f".{uuid.uuid4().hex}")
        with open(draft, "x", encoding="ascii") as file:
            file.write(to_json({"format": _FORMAT, "schema": SCHEMA_VERSION}) + "\n")
        try:
            os.link(draft, self._path(MARKER))
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _WITHOUT_LINKS:
                raise
            os.replace(draft, self._path(MARKER))
            return
        os.unlink(draft)

    def _is_ours(self) -> bool:
        """Whether the directory is marked as a journal. Raises if a later evalpool or another program marked it."""
        try:
            with open(self._path(MARKER), "rb", opener=without_waiting) as file:
                # One who put a pipe or a device in its place shall not make us wait, or read without end.
                regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                found = from_json(file.read(_LONGEST_MARKER)) if regular else {}
            schema = found["schema"] if found["format"] == _FORMAT else None
        except FileNotFoundError:
            return False
        except (ValueError, TypeError, KeyError, IsADirectoryError):
            schema = None
        if type(schema) is not int:
            raise CorruptRecord(
                f"{self._path(MARKER)} is not a valid evalpool journal; does the directory belong to another program?"
            )
        if schema > SCHEMA_VERSION:
            raise NewerSchema(
                f"{self._directory} was written by a later evalpool: schema {schema}, and this one knows "
                f"{SCHEMA_VERSION}. Upgrade evalpool to use it."
            )
        return True

    # -- processes -------------------------------------------------------------------------------------

    def _release(self, flushed: bool) -> None:
        try:
            self._file.check_still_there()
        finally:
            self._file.close()

    def _renew(self) -> None:
        self._begin()

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (self._directory, self._reporter.what)

    def __repr__(self) -> str:
        return f"JournalStorage({self._directory!r})"


def _open(directory: str, on_malformed: OnMalformed) -> JournalStorage:
    return JournalStorage(directory, on_malformed=on_malformed)


def _fields(batches: list[_Records], first: int, name: str) -> list[Any]:
    """Return the fields of these events as a reader of file `name` gets them. `first` is the first record's clock."""
    fields: list[Any] = []
    for events, sizes, texts in batches:
        if sizes is None:
            fields += events.fields([(clock, name, 0) for clock in range(first, first + len(texts))])
        else:
            clocks = enumerate(sizes, first)
            fields += events.fields([(clock, name, index) for clock, size in clocks for index in range(size)])
        first += len(texts)
    return fields


def _place(event: Event) -> tuple[int, str, int]:
    assert event.at is not None
    return event.at
