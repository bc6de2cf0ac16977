"""The evaluator on the ranks of an MPI communicator: its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool.backends._mpi._backend import RankBackend
from evalpool.backends._pool._evaluator import PoolEvaluator
from evalpool.errors import EvaluatorClosed
from evalpool.evaluator._evaluator import Evaluator
from evalpool.jobs._job import Job
from evalpool.jobs._options import Submission

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MPICommEvaluator"]


class MPICommEvaluator(PoolEvaluator):
    """Runs run-functions on the ranks of an MPI communicator, except the root.

    Under ``mpirun -n N python script.py`` all ranks construct it together. The root searches. The others serve inside
    the constructor until the root closes the evaluator; then they continue the script, where `is_master` is False::

        with MPICommEvaluator(run) as evaluator:
            if evaluator.is_master:
                ...

    Under ``mpirun -n N python -m evalpool.mpi script.py`` only the root runs the script, and no guard is needed.

    A job that exceeds its timeout is asked to stop, then interrupted by an exception. If it is busy in C code, its rank
    stays busy until the job ends. A crash of a rank ends the whole MPI program. ``isolation="process"`` has neither
    limit.

    Args:
        comm: a communicator of mpi4py, which is duplicated; None for all ranks.
        root: the rank that searches.
        num_workers: how many ranks run jobs; None or -1 for all but the root.
        isolation: ``"process"``: each rank runs its jobs in a supervised child process, so that a job can be killed at
            its timeout, and a crash costs only one job. The run-function then cannot use MPI. Costs 0.1 ms per job.
        busy_wait: whether to poll for messages without a pause. False: if no message came for half a millisecond, sleep
            at most 2 ms between polls; a rank that waits then uses about 1 % of a core.
        exit_timeout: with isolation: seconds that the child of a rank may take to end when the evaluator is closed,
            as on the process backend; None for 5.

    Raises:
        MissingExtra: mpi4py is not installed.
        BackendError: there is no MPI library or only one rank, the thread level is too low, or the ranks have different
            versions of evalpool or Python.
    """

    backend_class = RankBackend

    def __init__(
        self,
        run_function: Any,
        *,
        comm: Any = None,
        root: int = 0,
        num_workers: int | None = None,
        isolation: str | None = None,
        busy_wait: bool = False,
        exit_timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        own = {
            "comm": comm,
            "root": root,
            "isolation": isolation,
            "busy_wait": busy_wait,
            "exit_timeout": exit_timeout,
        }
        super().__init__(run_function, num_workers=-1 if num_workers is None else num_workers, **own, **kwargs)

    def submit(self, configurations: Iterable[dict[str, Any] | Submission]) -> list[Job[Any]]:
        if not self.is_master:
            assert isinstance(self._backend, RankBackend)
            raise EvaluatorClosed(
                f"Rank {self._backend.rank} runs jobs and does not search. Put the search under "
                "`if evaluator.is_master:`, or start the script with `mpirun -n N python -m evalpool.mpi script.py`."
            )
        return super().submit(configurations)

    submit.__doc__ = Evaluator.submit.__doc__
