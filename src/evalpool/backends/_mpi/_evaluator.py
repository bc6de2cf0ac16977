"""The evaluator on the ranks of an MPI communicator: its hooks."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from evalpool._checks import check_real
from evalpool._interrupts import ended_by
from evalpool._mpi._crew import crew_of
from evalpool.backends._mpi._launcher import RankLauncher
from evalpool.backends._mpi._rank import Rank
from evalpool.backends._mpi._transport import MessageTransport
from evalpool.backends._pool import _wire
from evalpool.backends._pool._ends import EXIT_TIMEOUT
from evalpool.backends._pool._evaluator import PoolEvaluator
from evalpool.backends._pool._pool import Pool
from evalpool.batch._deadline import suspends_on_sigterm
from evalpool.errors import BadArgument, EvaluatorClosed
from evalpool.evaluator import _settings
from evalpool.evaluator._evaluator import Evaluator, _close_open_evaluators
from evalpool.evaluator._parcel import pack
from evalpool.jobs._job import Job
from evalpool.jobs._options import Submission

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evalpool.storage import Sharing, Storage

__all__ = ["MPICommEvaluator"]


GRACE_AFTER_SIGTERM = 0.05
"""Seconds. Open MPI's mpirun lets a quarter of a second pass from SIGTERM to SIGKILL, in which all must be recorded."""


class MPICommEvaluator(PoolEvaluator):
    """Runs run-functions on the ranks of an MPI communicator, all but the root's.

    Under ``mpirun -n N python script.py`` all ranks construct it together. The root searches; the others serve inside
    the construction until the root closes the evaluator, then go on with the script, where `is_master` is False::

        with MPICommEvaluator(run) as evaluator:
            if evaluator.is_master:
                ...

    Under ``mpirun -n N python -m evalpool.mpi script.py`` only the root runs the script, and no guard is needed.

    A job over its timeout is asked to stop, then interrupted by an exception; one that is busy in C code holds its
    rank until it ends. A crash of a rank ends the whole MPI program. ``isolation="process"`` has neither limit.

    Args:
        comm: of mpi4py; it is duplicated. None for all ranks.
        root: the rank that searches.
        num_workers: how many ranks run jobs; None or -1 for all but the root.
        isolation: ``"process"``: each rank runs its jobs in a supervised child process, so that a timeout kills and a
            crash costs one job. The run-function then cannot use MPI. Costs 0.1 ms a job.
        busy_wait: look for messages without a pause. False: sleep in between, at most 2 ms, when nothing came for
            half a millisecond; a rank that waits then takes about 1 % of a core.
        exit_timeout: with isolation: seconds that the child of a rank may take to end when the evaluator is closed,
            as on the process backend; None for 5.

    Raises:
        MissingExtra, BackendError: there is no mpi4py, no MPI library, one rank only, too low a thread level, or
            different versions of evalpool or Python on the ranks.
    """

    _workers_are: ClassVar[str] = "cluster"

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
        if isolation not in (None, "process"):
            raise BadArgument(f'isolation is {isolation!r}; give None or "process".')
        if not isinstance(busy_wait, bool):
            raise BadArgument(f"busy_wait is {busy_wait!r}; give True or False.")
        if exit_timeout is not None and isolation is None:
            raise BadArgument(f'exit_timeout is {exit_timeout!r}: it is for the processes of isolation="process".')
        exit_timeout = EXIT_TIMEOUT if exit_timeout is None else exit_timeout
        self._exit_timeout = check_real("exit_timeout", exit_timeout, least=0)
        self._crew = crew = crew_of(comm, root)
        self._tag = crew.next_tag()
        self._isolated, self._busy_wait = isolation == "process", busy_wait
        self._jobs_are_isolated = self._isolated
        self._served = crew.rank != crew.root
        self._dismissed = self._served
        self._hears = contextlib.ExitStack()
        try:
            if self._served:  # records and callbacks are the root's
                kwargs.update(storage=None, search_id=None, callbacks=None)
            super().__init__(run_function, num_workers=_check_workers(num_workers, crew.size), **kwargs)
        except BaseException:
            self._dismiss([])
            raise
        if not self._served:
            self._hears.enter_context(suspends_on_sigterm())
        if not self._served and _close_open_evaluators not in crew.at_end:
            crew.at_end.append(_close_open_evaluators)
        if self._served:
            try:
                Rank.of(crew).serve(self._tag)
            finally:
                self.close()

    @property
    def _close_grace(self) -> float:
        return GRACE_AFTER_SIGTERM if ended_by() == signal.SIGTERM else super()._close_grace

    def _let_go(self) -> None:
        """A SIGTERM after a rank has died is its launcher's end of all ranks, and no suspend.

        What ran is then left as lost: were it suspended, each resume would run a job that kills its rank, for ever.
        """
        dead = self._crew.dead_rank() if ended_by() == signal.SIGTERM and not self._served else None
        if dead is not None:
            line = f"evalpool: rank {dead.rank} (process {dead.pid} on {dead.host}) has died; its launcher ends all."
            os.write(2, f"{line} What ran is lost; with a durable storage, resume runs it again.\n".encode())
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        super()._let_go()

    def _needed_sharing(self) -> Sharing:
        from evalpool.storage import Sharing

        return Sharing.PROCESSES if self._crew.one_host else Sharing.CLUSTER

    def _reaches(self, storage: Storage) -> bool:
        return not self._isolated if storage.ranks_only else super()._reaches(storage)

    def submit(self, configurations: Iterable[dict[str, Any] | Submission]) -> list[Job[Any]]:
        if self._served:
            raise EvaluatorClosed(
                f"Rank {self._crew.rank} runs jobs and does not search. Put the search under "
                "`if evaluator.is_master:`, or start the script with `mpirun -n N python -m evalpool.mpi script.py`."
            )
        return super().submit(configurations)

    submit.__doc__ = Evaluator.submit.__doc__

    @property
    def is_master(self) -> bool:
        """Is this the root, which searches?"""
        return not self._served

    def _start(self) -> None:
        parcel = pack(self)
        if parcel.error:
            self._refuse_all(parcel.error)
            return
        setup = {
            "origin": parcel.origin,
            "task": parcel.task,
            "storage": parcel.storage,
            "advice": parcel.advice,
            "decides": self._stopper is not None,
            "isolated": self._isolated,
            "exit_timeout": self._exit_timeout,
            "busy_wait": self._busy_wait,
            "holds": not self._watches_starts,
        }
        payload, buffers = _wire.dump(setup)
        message = b"".join(_wire.frame(_wire.SETUP, payload, buffers))
        transport = MessageTransport(self._crew, self._tag, self._busy_wait)
        self._launcher = RankLauncher(self._crew, transport, message, self._isolated)
        self._pool = Pool(self._port, self._launcher, transport, "evalpool-mpi-io")

    def _stop(self, now: bool) -> None:
        started = self._pool is not None
        super()._stop(now)
        self._dismiss(self._launcher.busy_ranks() if started else [])

    def close(self) -> list[Job[Any]]:
        try:
            return super().close()
        finally:
            self._dismiss([])  # it may never have started

    close.__doc__ = Evaluator.close.__doc__

    def _dismiss(self, busy: list[int]) -> None:
        """Let the ranks go on: home, or to the next evaluator."""
        if not self._dismissed:
            self._dismissed = True
            self._crew.close(self._tag, busy)
            if threading.current_thread() is threading.main_thread():
                self._hears.close()


def _check_workers(value: Any, size: int) -> int:
    if value is None or value == -1:
        return size - 1
    count = _settings.check_workers(value)
    if count > size - 1:
        raise BadArgument(
            f"num_workers is {count}, and {size} ranks are one root and {size - 1} workers; start more: "
            f"mpirun -n {count + 1} ..."
        )
    return count
