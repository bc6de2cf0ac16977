"""Several evaluators on one search: one per MPI rank, or one per independent process.

Each has its own workers and its own search loop, and gets the others' finished jobs from `gather_other_jobs_done`.
They share a storage, where job numbers, the cap on submissions and the log of results are exact. So this decorator
only connects the evaluators.
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
    """Make a class of which several evaluators can work on the same search: ``Distributed<Evaluator>``.

    ``backend="mpi"``: all ranks of a communicator construct it together, under ``mpirun -n N python script.py``, and
    each searches. Further arguments: ``comm=None``, ``root=0``, and ``storage``, if it shall not be an `MPIStorage`.

    ``backend="storage"``: independent processes construct it at any time, with the same ``storage`` and ``search_id``.
    Without a ``search_id``, it begins a search that the others can join.

    Both take two arguments: ``share_freq=1``, the number of own jobs after which it looks for jobs of others; and
    ``tables_everywhere=False``: callbacks that write tables work on rank 0 only, which hears of all jobs.

    No evaluator waits for another: one may begin late or end early. The class has three more attributes: ``rank``,
    ``size`` and ``num_total_workers``. With ``backend="storage"`` they count the evaluators that take part now.

    Raises:
        BadArgument: another backend; not an evaluator class, or one that is distributed already; with ``"storage"``,
            no storage.
    """
    check_choice("backend", backend, ("mpi", "storage"))

    def decorate(evaluator_class: type[Evaluator]) -> type[_SharingEvaluator]:
        if not (isinstance(evaluator_class, type) and issubclass(evaluator_class, Evaluator)):
            raise BadArgument(
                "distributed(backend) decorates an evaluator class, as in distributed('mpi')(ThreadPoolEvaluator); it "
                f"got {evaluator_class!r}."
            )
        if issubclass(evaluator_class, _SharingEvaluator):
            raise BadArgument(f"{evaluator_class.__name__} is distributed already. Decorate it once.")
        base = _SharingOverMPI if backend == "mpi" else _SharingOverStorage
        name = f"Distributed{evaluator_class.__name__}"
        doc = f"A `{evaluator_class.__name__}` that works with others on one search; see `evalpool.distributed`."
        made: Any = type(name, (base, evaluator_class), {"__doc__": doc, "__module__": __name__})
        return made  # type: ignore[no-any-return]

    return decorate


class _SharingEvaluator(Evaluator):
    """An evaluator with a `Membership`; the subclass chooses which."""

    _membership: Membership

    def __init__(
        self, run_function: Any, *, share_freq: int = 1, tables_everywhere: bool = False, **kwargs: Any
    ) -> None:
        member = self._membership
        try:
            kwargs = member.prepare({**kwargs, "share_freq": share_freq, "tables_everywhere": tables_everywhere})
            super().__init__(run_function, **kwargs)
            if self.is_master:  # a rank that only served is closed by now
                member.join(self._search, self.num_workers)
        except BaseException:
            member.leave()
            raise

    @property
    def rank(self) -> int:
        """This evaluator's rank; 0 is the root, or the process that began the search."""
        return self._membership.rank

    @property
    def size(self) -> int:
        """How many take part: the ranks; or, with ``backend="storage"``, the processes that take part now."""
        return self._membership.size

    @property
    def num_total_workers(self) -> int:
        """The number of workers of all that take part."""
        return self._membership.num_total_workers


class _SharingOverMPI(_SharingEvaluator):
    """A distributed evaluator over MPI: every rank of a communicator has one, and all are made together."""

    def __init__(
        self, run_function: Any, *, comm: Any = None, root: int = 0, storage: Any = None, search_id: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        self._membership = OverMPI(comm, root, storage)
        super().__init__(run_function, storage=storage, search_id=search_id, **kwargs)


class _SharingOverStorage(_SharingEvaluator):
    """A distributed evaluator of independent processes that share a storage."""

    def __init__(self, run_function: Any, *, storage: Any = None, search_id: Any = None, **kwargs: Any) -> None:
        self._membership = OverStorage()
        super().__init__(run_function, storage=storage, search_id=search_id, **kwargs)
