"""The base class of storages: a client implements three primitives, and all that searches use is built on them.

::

    create_new_search, store_*  ──────────────► append(events)      a client keeps them, in order
    load_*, records, follow  ◄── fold ◄── read(after a cursor)      only what is new since the last read
    submit, create_new_job  ──────────────────► reserve(search, n)  numbers that no other client gets

The idea that a storage can be an append-only log with two or three methods comes from optuna's journal storage
(`optuna/storages/journal/_base.py`). Here the state is kept folded, so that a read costs only what is new.
"""

from __future__ import annotations

import abc
import enum
import os
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from evalpool._clock import unix_time
from evalpool._json import plain
from evalpool.errors import BadArgument, UnknownSearch, UnknownValue
from evalpool.outcomes import JobStatus
from evalpool.storage._events import SCHEMA_VERSION, Event
from evalpool.storage._fold import as_status
from evalpool.storage._folded import SEARCHES, Cursor, FoldedLog, some
from evalpool.storage._records import job_dict, job_metadata, job_out, job_record

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from evalpool.models import JobRecord
    from evalpool.storage._follow import Follower

__all__ = ["SEARCHES", "Cursor", "Sharing", "Storage"]


class Sharing(enum.IntEnum):
    """Who can use one storage together. Each member includes those before it."""

    THREADS = 1
    """The threads of the process that made it."""
    PROCESSES = 2
    """The processes of one host; a client can be pickled and sent to them."""
    CLUSTER = 3
    """The workers of one Ray cluster, or the ranks of one MPI communicator."""
    HOSTS = 4
    """All hosts that reach the file system or the server."""


class Storage(FoldedLog):
    """Keeps the records of searches and jobs: a client of a log.

    A client is thread-safe. If it can be shared among processes (`shared`), it may be pickled, and its copy is another
    client of the same log; otherwise pickling it raises `NotShareable`. When a call that stores something returns, this
    is committed; whether it then outlives all processes, `durable` says.

    A subclass implements `append`, `read` and `reserve`. It calls `super().__init__()`.
    """

    shared: ClassVar[Sharing] = Sharing.THREADS
    durable: ClassVar[bool] = False
    """Whether what was stored outlives every process that uses the storage."""
    ranks_only: ClassVar[bool] = False
    """Whether only the ranks of an MPI communicator reach it, and no other process, not even a child of a rank."""
    keeps: ClassVar[bool] = True
    """Whether what is stored can be loaded again; False only for `NullStorage`."""

    # -- the primitives ------------------------------------------------------------------------------

    @abc.abstractmethod
    def append(self, events: Sequence[Event]) -> None:
        """Keep these events, together and in this order. They are committed when this returns.

        Any thread. Clients that write bytes raise `NotJSON` before anything is written, and
        `StorageUnavailable` if the events are not kept.
        """

    @abc.abstractmethod
    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        """Return the events after the cursor (None: all events), and the cursor after them.

        Any thread. The cost grows with what is returned, not with the size of the log. At least all events that this
        client appended are seen. Raises `CursorLost` if someone set the log back, so that the event before the cursor
        no longer exists.
        """

    @abc.abstractmethod
    def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
        """Take n consecutive numbers of a search, which no other client gets, and return the first.

        Any thread. Raises `MaximumJobsSpawnReached` if the last number would be `cap` or more; then none is taken.
        Raises `UnknownSearch` if there is no such search.
        """

    # -- what a client may override --------------------------------------------------------------------

    def read_without_details(self) -> tuple[list[Event], Cursor]:
        """Return, as `read(None)`, all events, or only those that tell how jobs were configured and how they ended.

        A client may leave out when jobs were gathered, and the starts of jobs whose ends say as much: a look at the
        state of a search needs neither. By default this is `read` itself.
        """
        return self.read(None)

    def append_soon(self, events: Sequence[Event]) -> None:
        """Append like `append`, but return at once and never raise. `flush` waits for it and raises errors.

        Events that cannot be written are kept, and writing is tried again. A value that is not JSON is stored as its
        repr, with a warning, as an error would reach nobody. By default this is `append` itself, which is right for
        clients whose `append` neither waits nor fails.
        """
        self.append(events)

    def flush(self) -> None:
        """Wait until everything given to `append_soon` is committed. Raises the error that prevented it."""

    def close(self) -> None:
        """Flush, and release files, threads and connections. Idempotent."""
        self.flush()

    def _claim(self, search_id: str, number: int, attempt: int, owner: str) -> int | None:
        """Return the attempt that `owner` may queue of a lost job, `attempt` or a later one; None if it may not.

        If all readers of the log see the same order, the first ``queued`` of an attempt counts, so every owner may try.
        A client without such an order decides here. Called under the lock of the fold, and may read new events.
        """
        return attempt

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- searches --------------------------------------------------------------------------------------

    def create_new_search(self, *, start: float | None = None) -> str:
        """Create a search and return its id: ``"0"``, ``"1"``, ...

        Args:
            start: when it began, in seconds since the epoch; None for now. The timestamps of its jobs count from here.
        """
        search_id = str(self.reserve(SEARCHES, 1))
        start = unix_time() if start is None else start
        self.append([Event("search", search_id, None, {"start": start, "schema": SCHEMA_VERSION})])
        return search_id

    def _upgrade_schema(self, search_id: str) -> None:
        """Note that records of this schema will follow in the search, so that earlier versions refuse to read it."""
        with self._fold_lock:
            search = self._search(search_id)
        if search.schema < SCHEMA_VERSION:
            self.append([Event("search", search_id, None, {"start": search.start, "schema": SCHEMA_VERSION})])

    def load_all_search_ids(self) -> list[str]:
        """Return the ids of all searches, oldest first."""
        with self._fold_lock:
            return self._search_ids(self._sync())

    def latest_search(self) -> str:
        """Return the id of the newest search. Raises `UnknownSearch` if there is none."""
        ids = self.load_all_search_ids()
        if not ids:
            raise UnknownSearch(
                f"{self!r} holds no search yet; begin one first. In a program, call create_new_search()."
            )
        return ids[-1]

    def search_start(self, search_id: str) -> float:
        """Return when the search began, in seconds since the epoch."""
        with self._fold_lock:
            start = self._search(search_id).start
        assert start is not None
        return start

    def store_search_value(self, search_id: str, key: str, value: Any) -> None:
        """Store a value of the whole search. The last one stored under a key is the one that is loaded."""
        self._search_known(search_id)
        self.append([Event("value", search_id, None, {_text(key): plain(value, key)})])

    def load_search_value(self, search_id: str, key: str) -> Any:
        """Return the value stored under `key`. Raises `UnknownValue` (a `KeyError`) if there is none."""
        with self._fold_lock:
            values = self._search(search_id).values
            if key not in values:
                raise UnknownValue(f"search {search_id} has no value {key!r}; it has {some(values)}.")
            return plain(values[key], lenient=True)

    # -- jobs ------------------------------------------------------------------------------------------

    def create_new_job(self, search_id: str) -> str:
        """Create a job of the search and return its id, ``"<search>.<n>"``."""
        number = self.reserve(search_id, 1)
        self.append([Event("created", search_id, number, {})])
        return f"{search_id}.{number}"

    def store_job_in(self, job_id: str, args: Any = None, kwargs: dict[str, Any] | None = None) -> None:
        """Store the configuration of a job, and the keyword arguments beside it."""
        if not (kwargs is None or isinstance(kwargs, dict)):
            raise BadArgument(f"kwargs is {kwargs!r} of type {type(kwargs).__name__}; give a dict.")
        self._store(job_id, "in", {"args": plain(args, "args"), "kwargs": plain(kwargs, "kwargs")})

    def store_job_out(self, job_id: str, value: Any) -> None:
        """Store the output of a job. This does not change its status; `store_job_status` does."""
        self._store(job_id, "out", {"out": plain(value, "out")})

    def store_job_metadata(self, job_id: str, key: str, value: Any) -> None:
        """Store a value beside the output of a job."""
        self._store(job_id, "metadata", {_text(key): plain(value, f"metadata.{key}")})

    def store_job_status(self, job_id: str, status: JobStatus | str) -> None:
        """Store the status of a job. A final status is never changed; READY after RUNNING begins a further attempt."""
        try:
            status = as_status(status)
        except KeyError:
            names = ", ".join(known.name for known in JobStatus)
            raise BadArgument(f"status is {status!r}; give one of {names}.") from None
        search_id, number = self._job_known(job_id)
        if status is JobStatus.READY:
            with self._fold_lock:
                job = self._job(job_id)
                if job.status is JobStatus.RUNNING:
                    self.append([Event("queued", search_id, number, {"attempt": job.attempt + 1})])
            return
        self.append([Event("status", search_id, number, {"status": status.name})])

    def load_all_job_ids(self, search_id: str) -> list[str]:
        """Return the ids of all jobs of the search, in the order of their numbers."""
        with self._fold_lock:
            return [f"{search_id}.{job.number}" for job in self._jobs(search_id)]

    def count_jobs(self, search_id: str) -> int:
        """Return how many jobs the search has, of all clients. Costs what is new since the last read."""
        with self._fold_lock:
            return self._search(search_id).num_created

    def load_search(self, search_id: str) -> dict[str, dict[str, Any]]:
        """Return every job of the search by its id, each in the form that `load_job` returns."""
        with self._fold_lock:
            return {f"{search_id}.{job.number}": job_dict(job) for job in self._jobs(search_id)}

    def load_job(self, job_id: str) -> dict[str, Any]:
        """Return a copy: ``{"status": JobStatus, "in": {"args", "kwargs"}, "out": ..., "metadata": {...}}``."""
        with self._fold_lock:
            return job_dict(self._job(job_id))

    def load_jobs(self, job_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return these jobs by their ids, each in the form that `load_job` returns."""
        with self._fold_lock:
            self._sync()
            return {job_id: job_dict(self._job(job_id, fresh=True)) for job_id in job_ids}

    def load_job_status(self, job_id: str) -> JobStatus:
        """Return the status of a job."""
        with self._fold_lock:
            return self._job(job_id).status

    def load_metadata_from_all_jobs(self, search_id: str, key: str) -> list[Any]:
        """Return the values under `key` in the metadata of those jobs of the search that have one."""
        with self._fold_lock:
            found = [job_metadata(job).get(key) for job in self._jobs(search_id)]
        return [value for value in found if value is not None]

    def load_out_from_all_jobs(self, search_id: str) -> list[Any]:
        """Return the outputs of those jobs of the search that have one."""
        with self._fold_lock:
            found = [job_out(job) for job in self._jobs(search_id)]
        return [value for value in found if value is not None]

    def load_record(self, job_id: str) -> JobRecord:
        """Return all that is known of one job."""
        with self._fold_lock:
            job = self._job(job_id)
            return job_record(job_id.rpartition(".")[0], job)

    def records(self, search_id: str) -> list[JobRecord]:
        """Return all that is known of every job of the search, in the order of their numbers."""
        with self._fold_lock:
            return [job_record(search_id, job) for job in self._jobs(search_id)]

    # -- results ---------------------------------------------------------------------------------------

    def results(self, search_id: str | None = None) -> list[JobRecord]:
        """Return the records of all jobs of a search (None: the latest), once `append_soon` has written all.

        Raises:
            UnknownSearch: there is no such search, or no search at all.
            BadArgument: this kind of storage keeps no jobs.
        """
        if not self.keeps:
            raise BadArgument(f"{type(self).__name__} keeps no results; use MemoryStorage() or another.")
        self.flush()
        return self.records(self.latest_search() if search_id is None else search_id)

    def to_dataframe(self, search_id: str | None = None, job_type: str | None = None) -> Any:
        """Return `results` as a `pandas.DataFrame`, one row per job, with the columns of the tables (extra ``pandas``).

        Args:
            search_id: None for the latest search.
            job_type: ``"hpo"`` or ``"task"``; None for the type that the evaluator had that began the search.
        """
        from evalpool.tables._frames import frame_of

        return frame_of(*self._table(search_id, job_type))

    def to_csv(self, path: str | os.PathLike[str], search_id: str | None = None, job_type: str | None = None) -> Path:
        """Write `results` to a CSV file, atomically, and return its absolute path. Arguments as for `to_dataframe`.

        Raises:
            BadArgument: the directory is missing or not writable.
        """
        from evalpool.tables._tables import write_table

        return write_table(path, *self._table(search_id, job_type))

    def to_parquet(
        self, path: str | os.PathLike[str], search_id: str | None = None, job_type: str | None = None
    ) -> Path:
        """Write a Parquet file, as `to_csv` a CSV file (extra ``pandas``).

        Columns that hold numbers and failures are text.
        """
        from evalpool.tables._frames import write_parquet

        return write_parquet(path, *self._table(search_id, job_type))

    def _table(self, search_id: str | None, job_type: str | None) -> tuple[list[JobRecord], str]:
        if job_type not in (None, "hpo", "task"):
            raise BadArgument(f"job_type is {job_type!r}; give 'hpo', 'task', or None for the type of the search.")
        if search_id is None and self.keeps:
            search_id = self.latest_search()
        records = self.results(search_id)
        if job_type is None:
            with self._fold_lock:
                job_type = self._search(records[0].search_id).values.get("job_type") if records else None
        return records, "task" if job_type == "task" else "hpo"

    # -- several clients -------------------------------------------------------------------------------

    def follow(self, search_id: str, not_owner: str) -> Follower:
        """Return a `Follower`, which returns each job that another owner than `not_owner` finished exactly once."""
        from evalpool.storage._follow import Follower

        self._search_known(search_id)
        return Follower(self, search_id, not_owner)

    def lease(self, search_id: str, owner: str, ttl: float) -> None:
        """Record a lease: `owner` keeps its jobs for `ttl` more seconds.

        Call it again to renew the lease, well before it expires; `ttl` 0 ends the lease.
        `evalpool.storage.new_owner` makes names of owners.
        """
        from evalpool.storage._leases import lease

        lease(self, search_id, owner, ttl)

    renew = lease

    def claim_lost(self, search_id: str, owner: str) -> list[JobRecord]:
        """Give `owner` the waiting and running jobs of all owners that have ended, and return their records.

        An owner counts as ended when its lease has expired, or its process on this host has certainly ended. If several
        owners claim a job, exactly one gets it. `attempts` of a record counts the attempt that was lost: the next
        attempt is ``attempts + 1``, and a late result of the lost attempt will be ignored.
        """
        from evalpool.storage._leases import claim_lost

        return claim_lost(self, search_id, owner)

    # -- by name ---------------------------------------------------------------------------------------

    @staticmethod
    def create(method: str = "memory", method_kwargs: dict[str, Any] | None = None) -> Storage:
        """Return a new client of the kind with this name: ``Storage.create("sqlite", {"path": "runs.db"})``."""
        from evalpool.storage._registry import create

        return create(method, method_kwargs)

    def _store(self, job_id: str, kind: str, data: dict[str, Any]) -> None:
        search_id, number = self._job_known(job_id)
        self.append([Event(kind, search_id, number, data)])


def _text(key: str) -> str:
    if not isinstance(key, str):
        raise BadArgument(f"the key {key!r} is of type {type(key).__name__}; keys are text.")
    return key


def path_of(path: str | os.PathLike[str]) -> str:
    """Return the absolute path of a file or directory that a user named. Raises `BadArgument`."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise BadArgument(f"path {path!r} of type {type(path).__name__} is not the path of a file or directory.")
    return os.path.abspath(os.path.expanduser(os.fspath(path)))
