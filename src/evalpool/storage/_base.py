"""The storage: three primitives of a client, and everything searches know, once, over them.

::

    create_new_search, store_*  ──────────────► append(events)      a client keeps them, in order
    load_*, records, follow  ◄── fold ◄── read(after a cursor)      only what is new since the last look
    submit, create_new_job  ──────────────────► reserve(search, n)  numbers that no other client gets

That a storage can be an append-only log with two or three methods is the insight of optuna's journal
storage (`optuna/storages/journal/_base.py`); the state here is kept folded, so that a look costs what is new.
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
    """How far apart the users of one storage may be; each includes those before it."""

    THREADS = 1
    """of the process that made it"""
    PROCESSES = 2
    """of one host; a client can be pickled to them"""
    CLUSTER = 3
    """workers of one Ray cluster, or ranks of one MPI communicator"""
    HOSTS = 4
    """anywhere that reaches the file system or the server"""


class Storage(FoldedLog):
    """Where the records of searches and jobs are kept; a client of a log.

    A client is safe to use from several threads. One that is shared further (`shared`) may be pickled, and
    its copy is another client of the same log; one that is not raises `NotShareable` when pickled. What a
    call that stores returned from is committed, as far as the client promises (`durable`).

    A subclass implements `append`, `read` and `reserve`. It calls `super().__init__()`.
    """

    shared: ClassVar[Sharing] = Sharing.THREADS
    durable: ClassVar[bool] = False
    """Whether what was stored outlives every process that uses the storage."""
    ranks_only: ClassVar[bool] = False
    """Whether only the ranks of an MPI communicator reach it, and no process that is started by one or elsewhere."""
    keeps: ClassVar[bool] = True
    """False only where nothing that is stored can be loaded."""

    # -- the primitives ------------------------------------------------------------------------------

    @abc.abstractmethod
    def append(self, events: Sequence[Event]) -> None:
        """Keep these events, together and in this order; committed when this returns.

        Any thread. Clients that write bytes raise `NotJSON` before anything is written, and
        `StorageUnavailable` if the events are not kept.
        """

    @abc.abstractmethod
    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        """Return the events behind the cursor (None: all), and the cursor behind them.

        Any thread. Costs what it returns, not what the log holds. Sees at least what this client appended.
        Raises `CursorLost` where a log that someone may set back no longer has what the cursor stands behind.
        """

    @abc.abstractmethod
    def reserve(self, search_id: str, n: int, cap: int | None = None) -> int:
        """Take n consecutive numbers of a search, which no other client gets, and return the first.

        Raises `MaximumJobsSpawnReached` if the last would be `cap` or more; then none is taken. Raises
        `UnknownSearch`. Any thread.
        """

    # -- what a client may override --------------------------------------------------------------------

    def append_soon(self, events: Sequence[Event]) -> None:
        """As `append`, but returns at once and never raises; `flush` waits for it and tells of trouble.

        What fails is kept and tried again. A value that is not JSON is kept as its repr, with a warning: its
        caller has no one to tell. This is `append` itself, for clients whose `append` neither waits nor fails.
        """
        self.append(events)

    def flush(self) -> None:
        """Wait until everything given to `append_soon` is committed. Raises what prevented that."""

    def close(self) -> None:
        """Flush, and release files, threads and connections. Idempotent."""
        self.flush()

    def _claim(self, search_id: str, number: int, attempt: int, owner: str) -> int | None:
        """The attempt as which `owner` may queue a lost job, `attempt` or a later one; None if it may not.

        Where the log itself has one order, the first ``queued`` of an attempt wins, so anyone may try.
        A client without such an order decides here. Called under the lock of the fold, which it may bring up to date.
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
            start: when it began, seconds since the epoch; now if not given. The zero of its timestamps.
        """
        search_id = str(self.reserve(SEARCHES, 1))
        start = unix_time() if start is None else start
        self.append([Event("search", search_id, None, {"start": start, "schema": SCHEMA_VERSION})])
        return search_id

    def _go_on_with(self, search_id: str) -> None:
        """New records of this schema will follow in the search: who knows only an earlier one must refuse it."""
        with self._fold_lock:
            search = self._search(search_id)
        if search.schema < SCHEMA_VERSION:
            self.append([Event("search", search_id, None, {"start": search.start, "schema": SCHEMA_VERSION})])

    def load_all_search_ids(self) -> list[str]:
        """The ids of all searches, oldest first."""
        with self._fold_lock:
            return self._search_ids(self._sync())

    def latest_search(self) -> str:
        """The id of the newest search. Raises `UnknownSearch` if there is none."""
        ids = self.load_all_search_ids()
        if not ids:
            raise UnknownSearch(
                f"{self!r} holds no search yet; begin one first. In a program, create_new_search() does."
            )
        return ids[-1]

    def search_start(self, search_id: str) -> float:
        """When the search began: seconds since the epoch."""
        with self._fold_lock:
            start = self._search(search_id).start
        assert start is not None
        return start

    def store_search_value(self, search_id: str, key: str, value: Any) -> None:
        """Keep a value for the whole search; the last one stored under a key is the one loaded."""
        self._search_known(search_id)
        self.append([Event("value", search_id, None, {_text(key): plain(value, key)})])

    def load_search_value(self, search_id: str, key: str) -> Any:
        """The value kept under `key`. Raises `UnknownValue` (a `KeyError`)."""
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
        """Keep the configuration of a job, and the keyword arguments beside it."""
        if not (kwargs is None or isinstance(kwargs, dict)):
            raise BadArgument(f"kwargs is {kwargs!r} of type {type(kwargs).__name__}; give a dict.")
        self._store(job_id, "in", {"args": plain(args, "args"), "kwargs": plain(kwargs, "kwargs")})

    def store_job_out(self, job_id: str, value: Any) -> None:
        """Keep the output of a job. Its status is another matter: `store_job_status`."""
        self._store(job_id, "out", {"out": plain(value, "out")})

    def store_job_metadata(self, job_id: str, key: str, value: Any) -> None:
        """Keep a value beside the output of a job."""
        self._store(job_id, "metadata", {_text(key): plain(value, f"metadata.{key}")})

    def store_job_status(self, job_id: str, status: JobStatus | str) -> None:
        """Keep the status of a job. A final one stays; READY after RUNNING is a further attempt."""
        try:
            status = as_status(status)
        except KeyError:
            names = ", ".join(known.name for known in JobStatus)
            raise BadArgument(f"status {status!r} is none of {names}.") from None
        search_id, number = self._job_known(job_id)
        if status is JobStatus.READY:
            with self._fold_lock:
                job = self._job(job_id)
                if job.status is JobStatus.RUNNING:
                    self.append([Event("queued", search_id, number, {"attempt": job.attempt + 1})])
            return
        self.append([Event("status", search_id, number, {"status": status.name})])

    def load_all_job_ids(self, search_id: str) -> list[str]:
        """The ids of all jobs of the search, in the order of their numbers."""
        with self._fold_lock:
            return [f"{search_id}.{job.number}" for job in self._jobs(search_id)]

    def load_search(self, search_id: str) -> dict[str, dict[str, Any]]:
        """Every job of the search by its id, each as `load_job` gives it."""
        with self._fold_lock:
            return {f"{search_id}.{job.number}": job_dict(job) for job in self._jobs(search_id)}

    def load_job(self, job_id: str) -> dict[str, Any]:
        """``{"status": JobStatus, "in": {"args", "kwargs"}, "out": ..., "metadata": {...}}``, a copy."""
        with self._fold_lock:
            return job_dict(self._job(job_id))

    def load_jobs(self, job_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """These jobs by their ids, each as `load_job` gives it."""
        with self._fold_lock:
            self._sync()
            return {job_id: job_dict(self._job(job_id, fresh=True)) for job_id in job_ids}

    def load_job_status(self, job_id: str) -> JobStatus:
        """The status of a job."""
        with self._fold_lock:
            return self._job(job_id).status

    def load_metadata_from_all_jobs(self, search_id: str, key: str) -> list[Any]:
        """The values under `key` in the metadata of the search's jobs, of those that have one."""
        with self._fold_lock:
            found = [job_metadata(job).get(key) for job in self._jobs(search_id)]
        return [value for value in found if value is not None]

    def load_out_from_all_jobs(self, search_id: str) -> list[Any]:
        """The outputs of the search's jobs, of those that have one."""
        with self._fold_lock:
            found = [job_out(job) for job in self._jobs(search_id)]
        return [value for value in found if value is not None]

    def load_record(self, job_id: str) -> JobRecord:
        """Everything about one job."""
        with self._fold_lock:
            job = self._job(job_id)
            return job_record(job_id.rpartition(".")[0], job)

    def records(self, search_id: str) -> list[JobRecord]:
        """Everything about every job of the search, in the order of their numbers."""
        with self._fold_lock:
            return [job_record(search_id, job) for job in self._jobs(search_id)]

    # -- results ---------------------------------------------------------------------------------------

    def results(self, search_id: str | None = None) -> list[JobRecord]:
        """The records of all jobs of a search (None: the latest), with all that `append_soon` was given.

        Raises:
            UnknownSearch: there is no such search, or none at all.
            BadArgument: this kind of storage keeps no jobs.
        """
        if not self.keeps:
            raise BadArgument(f"{type(self).__name__} keeps no results; use MemoryStorage() or another.")
        self.flush()
        return self.records(self.latest_search() if search_id is None else search_id)

    def to_dataframe(self, search_id: str | None = None, job_type: str | None = None) -> Any:
        """`results` as a `pandas.DataFrame`, one row per job, with the columns of the tables (extra ``pandas``).

        Args:
            search_id: None for the latest.
            job_type: ``"hpo"`` or ``"task"``; None for that of the evaluator that began the search.
        """
        from evalpool.tables._frames import frame_of

        return frame_of(*self._table(search_id, job_type))

    def to_csv(self, path: str | os.PathLike[str], search_id: str | None = None, job_type: str | None = None) -> Path:
        """Write `results` to a CSV file, atomically, and return its absolute path. Arguments as `to_dataframe`.

        Raises:
            BadArgument: the directory is missing or not writable.
        """
        from evalpool.tables._tables import write_table

        return write_table(path, *self._table(search_id, job_type))

    def to_parquet(
        self, path: str | os.PathLike[str], search_id: str | None = None, job_type: str | None = None
    ) -> Path:
        """As `to_csv`, a Parquet file (extra ``pandas``). Columns that hold numbers and failures are text."""
        from evalpool.tables._frames import write_parquet

        return write_parquet(path, *self._table(search_id, job_type))

    def _table(self, search_id: str | None, job_type: str | None) -> tuple[list[JobRecord], str]:
        if job_type not in (None, "hpo", "task"):
            raise BadArgument(f"job_type is {job_type!r}; give 'hpo', 'task', or None for that of the search.")
        if search_id is None and self.keeps:
            search_id = self.latest_search()
        records = self.results(search_id)
        if job_type is None:
            with self._fold_lock:
                job_type = self._search(records[0].search_id).values.get("job_type") if records else None
        return records, "task" if job_type == "task" else "hpo"

    # -- several clients -------------------------------------------------------------------------------

    def follow(self, search_id: str, not_owner: str) -> Follower:
        """Return a `Follower`, which gives each job that another owner finished exactly once."""
        from evalpool.storage._follow import Follower

        self._search_known(search_id)
        return Follower(self, search_id, not_owner)

    def lease(self, search_id: str, owner: str, ttl: float) -> None:
        """Say that `owner` lives for `ttl` more seconds; its jobs are its own until then.

        Call it again to renew, well before it expires; 0 gives the lease up. Owners are named by
        `evalpool.storage.new_owner`.
        """
        from evalpool.storage._leases import lease

        lease(self, search_id, owner, ttl)

    renew = lease

    def claim_lost(self, search_id: str, owner: str) -> list[JobRecord]:
        """Make the jobs ours that wait or run and whose owner is gone; return them.

        Gone is an owner whose lease has expired, or whose process on this host has provably ended. Of several
        claimants each job goes to exactly one. A record's `attempts` counts the attempt that was lost:
        the next is ``attempts + 1``, and the late result of the lost one will be ignored.
        """
        from evalpool.storage._leases import claim_lost

        return claim_lost(self, search_id, owner)

    # -- by name ---------------------------------------------------------------------------------------

    @staticmethod
    def create(method: str = "memory", method_kwargs: dict[str, Any] | None = None) -> Storage:
        """Return a new client by the name of its kind: ``Storage.create("sqlite", {"path": "runs.db"})``."""
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
    """The absolute path of a file or directory that a user named. Raises `BadArgument`."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise BadArgument(f"path {path!r} of type {type(path).__name__} is not the path of a file or directory.")
    return os.path.abspath(os.path.expanduser(os.fspath(path)))
