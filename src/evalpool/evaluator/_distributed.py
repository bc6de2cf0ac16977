"""Several evaluators on one search: one per MPI rank, or one per independent process.

Each has its own workers and its own search loop, and hears of the others' finished jobs in
`gather_other_jobs_done`. What they share is a storage: numbers of jobs, the cap on submissions and the log of results
are exact there, so this decorator only brings the evaluators together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from evalpool._checks import check_choice, check_number
from evalpool._clock import unix_time
from evalpool.errors import BackendError, BadArgument, StorageError
from evalpool.evaluator._evaluator import Evaluator

__all__ = ["distributed"]

MEMBER = "evalpool:member:"
"""Keys of search values: who takes part, with how many workers."""


def distributed(backend: str = "mpi") -> Callable[[type[Evaluator]], type[_Sharing]]:
    """Make of an evaluator class one of which several work on the same search: ``Distributed<Evaluator>``.

    ``backend="mpi"``: every rank of a communicator constructs it together, under ``mpirun -n N python script.py``, and
    searches. Further arguments: ``comm=None, root=0``, and ``storage`` if it is not to be an `MPIStorage`.

    ``backend="storage"``: independent processes construct it whenever they like, with the same ``storage`` and
    ``search_id``; without one, it begins the search that the others join.

    Both take ``share_freq=1``: after how many of its own jobs it looks for those of others, and
    ``tables_everywhere=False``: callbacks that write tables work on rank 0 only, for it hears of all jobs.

    Nobody waits for anybody: one may begin late or end early. Beyond the evaluator's own attributes: ``rank``, ``size``
    and ``num_total_workers``; with ``backend="storage"`` they count those that take part now.

    Raises:
        BadArgument: another backend; no evaluator class; with ``"storage"``, no storage.
    """
    check_choice("backend", backend, ("mpi", "storage"))

    def decorate(evaluator_class: type[Evaluator]) -> type[_Sharing]:
        if not (isinstance(evaluator_class, type) and issubclass(evaluator_class, Evaluator)):
            raise BadArgument(
                "distributed(backend) decorates an evaluator class: distributed('mpi')(ThreadPoolEvaluator); got "
                f"{evaluator_class!r}."
            )
        base = _OverMPI if backend == "mpi" else _OverStorage
        name = f"Distributed{evaluator_class.__name__}"
        doc = f"A `{evaluator_class.__name__}` that works with others on one search; see `evalpool.distributed`."
        made: Any = type(name, (base, evaluator_class), {"__doc__": doc, "__module__": __name__})
        return made  # type: ignore[no-any-return]

    return decorate


class _Sharing(Evaluator):
    """What both have: who takes part, and when to look for others' jobs."""

    rank: int
    size: int
    num_total_workers: int

    def __init__(
        self, run_function: Any, *, share_freq: int = 1, tables_everywhere: bool = False, **kwargs: Any
    ) -> None:
        self._share_freq = check_number("share_freq", share_freq, 1)
        self._looked_at = 0  # own jobs gathered at the last look
        if not tables_everywhere and self.rank != 0:
            from evalpool.callbacks import CSVLoggerCallback

            callbacks = kwargs.get("callbacks") or []
            kwargs["callbacks"] = [each for each in callbacks if not isinstance(each, CSVLoggerCallback)]
        super().__init__(run_function, **kwargs)
        self._foreign_jobs.is_due = self._is_due

    def _is_due(self) -> bool:
        """Are others' jobs to be looked for now?"""
        if self.num_jobs_gathered - self._looked_at < self._share_freq and self._core.inbox.outstanding:
            return False  # once nothing is outstanding, the next look may be the last one
        self._looked_at = self.num_jobs_gathered
        return True


class _OverMPI(_Sharing):
    """Every rank of a communicator has one; all are made together."""

    def __init__(
        self, run_function: Any, *, comm: Any = None, root: int = 0, storage: Any = None, search_id: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        from evalpool._mpi._crew import crew_of, has_runner
        from evalpool.storage import MPIStorage

        crew = crew_of(comm, root)
        if has_runner():
            raise BackendError(
                "Under `python -m evalpool.mpi` one rank searches and the others run its jobs. A distributed search "
                "runs on every rank: mpirun -n N python script.py"
            )
        self._default = storage is None
        if storage is None:
            storage = MPIStorage(comm, root)
        self.rank, self.size = (crew.rank - root) % crew.size, crew.size  # the root is 0
        # Whatever goes wrong on one rank is told to all, else they would wait for it for ever.
        news: Any = None
        try:
            if self.rank == 0:
                super().__init__(run_function, storage=storage, search_id=search_id, **kwargs)
                news = self.search_id
        finally:
            crew.meet()
            news = crew.work.bcast(news, root)
        if news is None:
            raise BackendError("The root could not begin the search; its own error says why.")
        workers = 0
        try:
            if self.rank != 0:
                super().__init__(run_function, storage=storage, search_id=news, **kwargs)
            workers = self.num_workers
        finally:
            crew.meet()
            self.num_total_workers = int(crew.work.allreduce(workers))

    def _reaches(self, storage: Any) -> bool:
        # Ours is for the searches; where workers cannot reach it, their jobs are told so, as without any storage.
        return self._default or super()._reaches(storage)


class _OverStorage(_Sharing):
    """Independent processes that share a storage."""

    def __init__(self, run_function: Any, *, storage: Any = None, search_id: Any = None, **kwargs: Any) -> None:
        from evalpool.storage import Sharing, Storage, storage_from_url

        with contextlib.ExitStack() as stack:
            client = stack.enter_context(storage_from_url(storage)) if isinstance(storage, str) else storage
            if not isinstance(client, Storage) or client.shared < Sharing.PROCESSES:
                raise BadArgument(
                    f"storage is {storage!r}; processes that search together need one that they share: "
                    'storage=SQLiteStorage("results.db"), JournalStorage(directory) or RedisStorage(host).'
                )
            self.rank = 0 if search_id is None else len(_members(client, _latest(client, search_id)))
        super().__init__(run_function, storage=storage, search_id=search_id, **kwargs)
        self._key = f"{MEMBER}{self._search.owner}"
        self._search.storage.store_search_value(
            self._search.search_id, self._key, {"since": unix_time(), "workers": self.num_workers}
        )

    @property
    def size(self) -> int:  # type: ignore[override]
        """How many take part now."""
        return len(_members(self._search.storage, self._search.search_id))

    @property
    def num_total_workers(self) -> int:  # type: ignore[override]
        """Of all that take part now."""
        return sum(member["workers"] for member in _members(self._search.storage, self._search.search_id))

    def _leave_storage(self) -> None:
        with contextlib.suppress(StorageError):  # a lost storage counts nobody, and the base reports the loss
            self._search.storage.store_search_value(self._search.search_id, self._key, None)
        super()._leave_storage()


def _latest(storage: Any, search_id: str) -> str:
    return str(storage.latest_search() if search_id == "latest" else search_id)


def _members(storage: Any, search_id: str) -> list[dict[str, Any]]:
    """Who takes part in a search; costs what is new in the storage, and the number of those who ever did."""
    with storage._fold_lock:
        values = storage._search(search_id).values
        return [value for key, value in values.items() if key.startswith(MEMBER) and value is not None]
