"""The engine on MPI ranks: one rank searches, and the others serve."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from evalpool._checks import check_real
from evalpool._interrupts import ended_by
from evalpool._mpi._crew import Crew, crew_of
from evalpool.backends._mpi._launcher import RankLauncher
from evalpool.backends._mpi._rank import Rank
from evalpool.backends._mpi._transport import MessageTransport
from evalpool.backends._pool import _wire
from evalpool.backends._pool._backend import PoolBackend
from evalpool.backends._pool._ends import EXIT_TIMEOUT
from evalpool.backends._pool._pool import Pool
from evalpool.batch._deadline import suspends_on_sigterm
from evalpool.errors import BadArgument
from evalpool.evaluator._open_evaluators import close_all
from evalpool.evaluator._port import Port

if TYPE_CHECKING:
    from evalpool._mpi._watch import RankWatch
    from evalpool.storage import Sharing, Storage

__all__ = ["RankBackend"]

GRACE_AFTER_SIGTERM = 0.05
"""Seconds. Open MPI's mpirun sends SIGKILL a quarter of a second after SIGTERM; until then all must be recorded."""


class RankBackend(PoolBackend):
    """The ranks of a communicator. The arguments are those of `MPICommEvaluator`."""

    workers_are = "cluster"
    counts_workers: ClassVar[bool] = True

    def __init__(
        self, comm: Any, root: int, isolation: str | None, busy_wait: bool, exit_timeout: float | None
    ) -> None:
        if isolation not in (None, "process"):
            raise BadArgument(f'isolation is {isolation!r}; give None or "process".')
        if not isinstance(busy_wait, bool):
            raise BadArgument(f"busy_wait is {busy_wait!r}; give True or False.")
        if exit_timeout is not None and isolation is None:
            raise BadArgument(f'exit_timeout is {exit_timeout!r}: it is for the processes of isolation="process".')
        exit_timeout = EXIT_TIMEOUT if exit_timeout is None else exit_timeout
        self._exit_timeout = check_real("exit_timeout", exit_timeout, least=0)
        self._comm, self._root = comm, root
        self._isolated, self._busy_wait = isolation == "process", busy_wait
        self.jobs_are_isolated = self._isolated
        self._dismissed = True  # False while ranks serve this evaluator
        self._hears = contextlib.ExitStack()
        self._watch: RankWatch | None = None

    def open(self, wanted: int) -> int:
        self._crew = crew = crew_of(self._comm, self._root)
        self._tag = crew.next_tag()
        serves = crew.rank != crew.root
        self._dismissed = serves
        count = _check_workers(wanted, crew)
        if serves:
            return 0
        self._hears.enter_context(suspends_on_sigterm())
        if close_all not in crew.at_end:
            crew.at_end.append(close_all)
        self._watch = crew.watch(crew.others[:count], self._describe_jobs)
        return count

    def _describe_jobs(self, rank: int) -> str:
        worker = None if self.pool is None else self.pool.workers.get(rank)
        head = None if worker is None else worker.head()
        return "" if head is None else f"It ran job {head.job.id}. "

    @property
    def rank(self) -> int:
        """The rank of this process."""
        return self._crew.rank

    def serve(self) -> None:
        Rank.of(self._crew).serve(self._tag)

    @property
    def close_grace(self) -> float:  # type: ignore[override]
        """As that of every pool; shorter if the MPI launcher is about to kill all ranks."""
        return GRACE_AFTER_SIGTERM if ended_by() == signal.SIGTERM else PoolBackend.close_grace

    def told_to_end(self) -> None:
        """Do not suspend if SIGTERM came because a rank has died: then the MPI launcher ends all ranks.

        The running jobs then count as lost. If they were suspended, a job that kills its rank would be run by each
        `resume`, for ever.
        """
        searches = self._crew.rank == self._crew.root
        dead = self._crew.dead_rank() if ended_by() == signal.SIGTERM and searches else None
        if dead is not None:
            line = f"evalpool: rank {dead.rank} (process {dead.pid} on {dead.host}) has died; MPI ends all ranks."
            os.write(2, f"{line} Running jobs are lost; with a durable storage, resume runs them again.\n".encode())
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def sharing(self) -> Sharing:
        from evalpool.storage import Sharing

        return Sharing.PROCESSES if self._crew.one_host else Sharing.CLUSTER

    def reaches(self, storage: Storage) -> bool:
        return not self._isolated if storage.ranks_only else super().reaches(storage)

    def make_pool(self, port: Port) -> Pool:
        packed = port.setup()
        setup = {
            "origin": packed.origin,
            "task": packed.task,
            "storage": packed.storage,
            "advice": packed.advice,
            "decides": port.decides,
            "isolated": self._isolated,
            "exit_timeout": self._exit_timeout,
            "busy_wait": self._busy_wait,
            "holds": not port.watches_starts,
        }
        payload, buffers = _wire.dump(setup)
        message = b"".join(_wire.frame(_wire.SETUP, payload, buffers))
        transport = MessageTransport(self._crew, self._tag, self._busy_wait)
        self._launcher = RankLauncher(self._crew, transport, message, self._isolated)
        return Pool(port, self._launcher, transport, "evalpool-mpi-io")

    def shutdown(self, now: bool) -> None:
        started = self.pool is not None
        super().shutdown(now)
        self._dismiss(self._launcher.busy_ranks() if started else [])

    def dispose(self) -> None:
        self._dismiss([])  # it may never have started

    def _dismiss(self, busy: list[int]) -> None:
        """Tell the ranks that this evaluator is closed: they continue the script, or serve another evaluator."""
        if not self._dismissed:
            self._dismissed = True
            if self._watch is not None:
                self._watch.stop()
            self._crew.close(self._tag, busy)
            if threading.current_thread() is threading.main_thread():
                self._hears.close()


def _check_workers(wanted: int, crew: Crew) -> int:
    """Return how many ranks run jobs; -1 means all but the root."""
    size = crew.size
    if wanted == -1:
        return size - 1
    if wanted > size - 1:
        raise BadArgument(
            f"num_workers is {wanted}, but {size} ranks are one root and {size - 1} workers. Start more: "
            f"mpirun -n {wanted + 1} ..."
        )
    return wanted
