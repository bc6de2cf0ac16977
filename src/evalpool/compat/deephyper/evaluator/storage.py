"""The storages of `deephyper.evaluator.storage`: evalpool's clients, with the shapes and names of records of there.

A job's record is ``{"status": int, "in": {"args": tuple, "kwargs"}, "out": value, "metadata": {...}, "intermediate":
{"budget", "objective"}}``; `Storage.load_search` names jobs by the number alone. Of `RedisStorage` all is JSON.
evalpool's own names are there as well: `records`, `results`, `to_csv`.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from evalpool import storage as core
from evalpool.compat.deephyper.evaluator._status import as_stored, status_of
from evalpool.errors import NotShareable, UnknownMethod, UnknownValue

if TYPE_CHECKING:
    from typing_extensions import Self

    from evalpool.models import JobRecord

__all__ = [
    "MPIWinStorage",
    "MemoryStorage",
    "NullStorage",
    "RayStorage",
    "RedisStorage",
    "SharedMemoryStorage",
    "Storage",
]

_KEPT = "_stored:"
"""Metadata that hold what `store_job` was given under a key of the caller's own; alone, an input of another form."""

_NOTED = frozenset({"worker", "host", "pid", "timestamp_start", "timestamp_end"})
"""What evalpool notes beside a job's own metadata, and deephyper does not."""


class Storage(core.Storage):
    """What all storages of this module are: clients of evalpool with deephyper's shapes.

    A class of your own implements the three methods of `evalpool.storage.Storage`: `append`, `read` and `reserve`. One
    that implements deephyper's eighteen is not taken.
    """

    _connected = False

    def connect(self) -> Self:
        """Nothing is to be done: a client connects when it is made, or at its first use. Returns itself."""
        self._connected = True
        return self

    def is_connected(self) -> bool:
        """Was `connect` called?"""
        return self._connected

    @staticmethod
    def create(method: str = "memory", method_kwargs: dict[str, Any] | None = None) -> Storage:
        """A new client by the name of its kind."""
        made = KINDS.get(method)
        if made is None:
            raise UnknownMethod(f"method is {method!r}; give one of {', '.join(KINDS)}.")
        return made(**(method_kwargs or {}))

    # What is stored.

    def store_job(self, job_id: str, key: str, value: Any) -> None:
        """Keep a value under a key of the job's record: one of its own keys, or any other."""
        if key == "in":
            if value is None or (isinstance(value, dict) and value and value.keys() <= {"args", "kwargs"}):
                self.store_job_in(job_id, **(value or {}))
            else:  # in a form of the program's own
                self.store_job_in(job_id, {_KEPT: value})
        elif key == "out":
            self.store_job_out(job_id, value)
        elif key == "status":
            self.store_job_status(job_id, value)
        elif key == "metadata":
            for name, item in value.items():
                self.store_job_metadata(job_id, name, item)
        else:
            self.store_job_metadata(job_id, f"{_KEPT}{key}", value)

    def store_job_status(self, job_id: str, job_status: Any) -> None:
        """Keep the status of a job: a number from 0 to 4, or a member of `JobStatus`."""
        super().store_job_status(job_id, as_stored(job_status))

    # What is loaded.

    def load_job(self, job_id: str) -> dict[str, Any]:
        return self._shaped(super().load_job(job_id), self.load_record(job_id))

    def load_jobs(self, job_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        return {job_id: self.load_job(job_id) for job_id in job_ids}

    def load_search(self, search_id: str) -> Any:
        """Every job of the search by its number, as text."""
        return self._jobs_of(search_id)

    def _jobs_of(self, search_id: str) -> dict[str, dict[str, Any]]:
        loaded, records = super().load_search(search_id), self.records(search_id)
        return {str(record.number): self._shaped(loaded[record.job_id], record) for record in records}

    def load_job_status(self, job_id: str) -> int:  # type: ignore[override]
        return status_of(super().load_job_status(job_id)).value

    def load_out_from_all_jobs(self, search_id: str) -> list[Any]:
        found = [job["out"] for job in self._jobs_of(search_id).values()]
        return [out for out in found if out is not None]

    def _shaped(self, job: dict[str, Any], record: JobRecord) -> dict[str, Any]:
        """From evalpool's shape of a job to deephyper's."""
        by_evaluator = record.owner is not None
        out = job["out"]
        if by_evaluator and isinstance(out, dict) and "objective" in out and not self._holds_tasks(record.search_id):
            out = out["objective"]
        metadata = {key: value for key, value in job["metadata"].items() if key not in _NOTED or key in record.metadata}
        kept = {key.removeprefix(_KEPT): metadata.pop(key) for key in list(metadata) if key.startswith(_KEPT)}
        budgets, objectives = zip(*record.recorded, strict=True) if record.recorded else ((), ())
        return {
            "status": status_of(job["status"]).value,
            "in": _inputs(**job["in"]),
            "out": out,
            "metadata": metadata,
            "intermediate": {"budget": list(budgets), "objective": list(objectives)},
            **kept,
        }

    def _holds_tasks(self, search_id: str) -> bool:
        try:
            return bool(self.load_search_value(search_id, "job_type") == "task")
        except KeyError:
            return False

    def __reduce__(self) -> Any:
        reduced: Any = super().__reduce__()
        make, arguments = reduced
        return _client, (type(self), make, arguments)


def _inputs(args: Any, kwargs: dict[str, Any] | None) -> Any:
    """What is under ``"in"``: None, args and kwargs, or what `store_job` was given in another form."""
    if isinstance(args, dict):
        if args.keys() == {_KEPT}:
            return args[_KEPT]
        args = (args,)
    elif isinstance(args, list):
        args = tuple(args)
    return None if args is None and not kwargs else {"args": args, "kwargs": kwargs or None}


def _client(cls: type[Storage], make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A client in another process, with the shapes of here."""
    client = make(*arguments)
    client.__class__ = cls
    return client.connect()


class MemoryStorage(Storage, core.MemoryStorage):
    """In this process's memory, shared by its threads.

    An evaluator of other processes takes it, too: then it is filled here, and in workers it can only be looked at as an
    object. deephyper's arrives there empty.
    """

    def let_go_along(self) -> None:
        """An evaluator of other processes keeps its records here."""
        self.shared = core.Sharing.HOSTS  # type: ignore[misc]

    def __reduce__(self) -> Any:
        return OutOfReach, ()


class OutOfReach(Storage):
    """What a worker in another process has of a `MemoryStorage`."""

    _connected = True

    def append(self, *arguments: Any) -> NoReturn:
        raise NotShareable(
            "A MemoryStorage is in the memory of the evaluator's process, and this is another one. Use "
            "SharedMemoryStorage(), which run-functions in processes reach."
        )

    read = reserve = append  # type: ignore[assignment]


class NullStorage(Storage, core.NullStorage):
    """Counts jobs. What is stored about them is dropped; what is loaded is None, 0 or empty, where the core raises."""

    def store_job_in(self, *arguments: Any, **more: Any) -> None:
        pass

    store_job_out = store_job_metadata = store_job_status = store_job_in

    def load_all_job_ids(self, search_id: str) -> list[str]:
        return [f"{search_id}.{number}" for number in range(self.reserve(search_id, 0))]

    def load_job(self, job_id: str) -> None:  # type: ignore[override]
        return None

    load_search = load_job  # type: ignore[assignment]

    def load_jobs(self, job_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        return {}

    def load_job_status(self, job_id: str) -> int:  # type: ignore[override]
        return 0

    def load_search_value(self, search_id: str, key: str) -> Any:
        try:
            return super().load_search_value(search_id, key)
        except UnknownValue:
            return None


class SharedMemoryStorage(Storage, core.SharedMemoryStorage):
    """In this process's memory, served to its worker processes. What is kept is JSON."""


class RedisStorage(Storage, core.RedisStorage):
    """In a Redis server; the JSON module of deephyper's is not needed.

    What is kept is JSON and comes back as such, as from deephyper's: lists for tuples, ``"NaN"`` for a number that is
    none, and a search as a list of its jobs.
    """

    def store_job_out(self, job_id: str, value: Any) -> None:
        super().store_job_out(job_id, _nan_as_text(value))

    def store_job_metadata(self, job_id: str, key: str, value: Any) -> None:
        super().store_job_metadata(job_id, key, _nan_as_text(value))

    def load_search(self, search_id: str) -> list[dict[str, Any]]:  # type: ignore[override]
        """Every job of the search in the order of their numbers, with its id under ``"job_id"``."""
        return [{**job, "job_id": f"{search_id}.{number}"} for number, job in self._jobs_of(search_id).items()]

    def _shaped(self, job: dict[str, Any], record: JobRecord) -> dict[str, Any]:
        shaped: dict[str, Any] = _listed(super()._shaped(job, record))
        return shaped


def _nan_as_text(value: Any) -> Any:
    return "NaN" if isinstance(value, numbers.Real) and math.isnan(value) else value


def _listed(value: Any) -> Any:
    """The value with lists for its tuples."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, (tuple, list)) else value


class RayStorage(Storage, core.RayStorage):
    """In an actor of a Ray cluster; a worker that is no part of the cluster joins it. What is kept is JSON."""

    def __reduce__(self) -> Any:
        import ray

        return _in_cluster, (ray.get_runtime_context().gcs_address, *super().__reduce__())


def _in_cluster(address: str, client: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A client in another process, which is or becomes a driver of the cluster."""
    import ray

    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    return client(*arguments)


class MPIWinStorage(Storage, core.MPIStorage):
    """In the root rank's memory; all ranks construct it together. What is kept is JSON.

    Args:
        comm: of mpi4py; None for all ranks.
        size: taken and not used: it is the size of deephyper's window of memory, and here the memory grows.
        root: the rank that holds it.
    """

    def __init__(self, comm: Any = None, size: int = 104857600, root: int = 0) -> None:
        super().__init__(comm, root)


KINDS: dict[str, Callable[..., Storage]] = {
    "memory": MemoryStorage,
    "redis": RedisStorage,
    "null": NullStorage,
    "shared_memory": SharedMemoryStorage,
    "ray": RayStorage,
    "mpi": MPIWinStorage,
}
"""The first two are deephyper's names."""
