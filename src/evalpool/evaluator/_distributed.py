"""Several evaluators on one search: one per MPI rank, or one per independent process.

Each has its own workers and its own search loop, and hears of the others' finished jobs in
`gather_other_jobs_done`. What they share is a storage: numbers of jobs, the cap on submissions and the log of results
are exact there, so this decorator only brings the evaluators together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evalpool._checks import check_choice
from evalpool.errors import BadArgument
from evalpool.evaluator._evaluator import Evaluator
from evalpool.evaluator._membership import Membership, OverMPI, OverStorage

__all__ = ["distributed"]


def distributed(backend: str = "mpi") -> Callable[[type[Evaluator]], type[_SharingEvaluator]]:
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

    def decorate(evaluator_class: type[Evaluator]) -> type[_SharingEvaluator]:
        if not (isinstance(evaluator_class, type) and issubclass(evaluator_class, Evaluator)):
            raise BadArgument(
                "distributed(backend) decorates an evaluator class: distributed('mpi')(ThreadPoolEvaluator); got "
                f"{evaluator_class!r}."
            )
        base = _SharingOverMPI if backend == "mpi" else _SharingOverStorage
        name = f"Distributed{evaluator_class.__name__}"
        doc = f"A `{evaluator_class.__name__}` that works with others on one search; see `evalpool.distributed`."
        made: Any = type(name, (base, evaluator_class), {"__doc__": doc, "__module__": __name__})
        return made  # type: ignore[no-any-return]

    return decorate


class _SharingEvaluator(Evaluator):
    """An evaluator to which a `Membership` is handed in."""

    _membership: Membership

    def __init__(
        self, run_function: Any, *, share_freq: int = 1, tables_everywhere: bool = False, **kwargs: Any
    ) -> None:
        member = self._membership
        try:
            kwargs = member.prepare({**kwargs, "share_freq": share_freq, "tables_everywhere": tables_everywhere})
            super().__init__(run_function, **kwargs)
            if self.is_master:  # one that only served is closed by now
                member.join(self._search, self.num_workers)
        except BaseException:
            member.leave()
            raise

    @property
    def rank(self) -> int:
        """0 is the root, or who began the search."""
        return self._membership.rank

    @property
    def size(self) -> int:
        """How many take part: ranks; or, with ``backend="storage"``, processes that do so now."""
        return self._membership.size

    @property
    def num_total_workers(self) -> int:
        """Of all that take part."""
        return self._membership.num_total_workers


class _SharingOverMPI(_SharingEvaluator):
    """Every rank of a communicator has one; all are made together."""

    def __init__(
        self, run_function: Any, *, comm: Any = None, root: int = 0, storage: Any = None, search_id: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        self._membership = OverMPI(comm, root, storage)
        super().__init__(run_function, storage=storage, search_id=search_id, **kwargs)


class _SharingOverStorage(_SharingEvaluator):
    """Independent processes that share a storage."""

    def __init__(self, run_function: Any, *, storage: Any = None, search_id: Any = None, **kwargs: Any) -> None:
        self._membership = OverStorage()
        super().__init__(run_function, storage=storage, search_id=search_id, **kwargs)
