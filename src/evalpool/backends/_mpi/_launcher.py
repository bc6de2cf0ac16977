"""The launcher of MPI ranks: they are running already, cannot be killed, and end together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from evalpool._clock import monotonic
from evalpool._log import get_logger
from evalpool._mpi._crew import Crew
from evalpool.backends._mpi._rank import FORCE
from evalpool.backends._mpi._transport import MessageTransport
from evalpool.backends._pool import _wire
from evalpool.backends._pool._launcher import Launcher
from evalpool.backends._pool._pool import Pool
from evalpool.backends._pool._pool_worker import PoolWorker
from evalpool.outcomes import Worker

__all__ = ["RankLauncher"]

logger = get_logger()

GIVE_UP_AFTER = 10.0
"""Seconds without a message of any rank after which waiting jobs are given up, unless `job_timeout` is longer: a rank
that is still in C code so long after its job should have ended may never return."""


class RankLauncher(Launcher):
    """Uses ranks as workers; a worker's handle is its rank.

    Args:
        crew: the ranks.
        transport: sends frames to them.
        setup: the frame that each rank needs first, in one piece.
        isolated: whether each rank runs its jobs in a child process.
    """

    name: ClassVar[str] = "mpi"
    what: ClassVar[str] = "rank"
    workers_are: ClassVar[str] = "cluster"
    kills: ClassVar[bool] = False
    ends_aside: ClassVar[bool] = False
    exit_timeout = 0.0
    start_timeout = None

    def __init__(self, crew: Crew, transport: MessageTransport, setup: bytes, isolated: bool) -> None:
        self.crew, self._transport, self._setup, self._isolated = crew, transport, setup, isolated

    def open(self, pool: Pool) -> None:
        super().open(pool)
        self._pool = pool

    def indices(self, count: int) -> Iterable[int]:
        return self.crew.others[:count]

    def start(self, worker: PoolWorker) -> int:
        rank = worker.index
        member = self.crew.members[rank]
        worker.facts = Worker(worker.facts.name, member.host, member.pid)
        worker.elsewhere = member.host != self.crew.members[self.crew.root].host
        with self._pool.sending:
            self._transport.send(worker, [self._setup])
        return rank

    def kill(self, worker: PoolWorker) -> None:
        """Do nothing: a rank cannot be killed without all others."""

    def describe_end(self, worker: PoolWorker) -> str:
        return f"Rank {worker.index} ended."

    def force_stop(self, worker: PoolWorker, attempt: Any) -> bool:
        force = _wire.frame(FORCE, _wire.JOB.pack(attempt.job.number, attempt.number))
        if self._isolated:  # the job's process is killed, and the rank reports that
            self._transport.tell(worker, force)
            return True
        # A job in the rank itself is interrupted, unless it is in C code that holds the GIL. The request to steal back
        # is sent first, so that the rank does not begin the next job after this one.
        self._pool.mark_unresponsive(worker)
        self._transport.tell(worker, force)
        if self._all_unresponsive():
            self._pool.port.after(self._answer_within(), self._pool.command, self._give_up_if_silent)
        return False

    def _all_unresponsive(self) -> bool:
        return all(worker.unresponsive for worker in self._pool.workers.values())

    def _answer_within(self) -> float:
        """Return for how many seconds jobs wait for ranks that are all unresponsive."""
        attempts = [each for worker in self._pool.workers.values() for each in worker.in_flight.values()]
        return max([GIVE_UP_AFTER, *(attempt.timeout or 0.0 for attempt in attempts)])

    def _give_up_if_silent(self) -> None:
        """Give up the waiting jobs if no rank has sent anything for long, so that no caller waits for ever."""
        with self._pool.lock:
            if not self._all_unresponsive() or self._transport.heard_at > monotonic() - self._answer_within():
                return
            ranks = ", ".join(map(str, self._pool.workers))
        self._pool.broken = (
            f"All ranks that run jobs ({ranks}) run jobs that were asked to stop {self._answer_within():.0f} s ago and "
            'cannot be interrupted: C code that does not return. With isolation="process" such a job can be killed.'
        )
        logger.error("%s Jobs that wait for a rank fail until one answers.", self._pool.broken)

    def busy_ranks(self) -> list[int]:
        """Return the ranks that have jobs, or have not reported yet that they are ready."""
        return [rank for rank, worker in self._pool.workers.items() if worker.in_flight or not worker.ready]

    def describe_shortage(self) -> str:
        silent = [rank for rank, worker in list(self._pool.workers.items()) if not worker.ready]
        busy = [
            f"rank {rank} runs job {head.job.id} of another evaluator of this program"
            for other in self._pool.shortage.others()
            if isinstance(other.launcher, RankLauncher) and other.launcher.crew is self.crew
            for rank, worker in list(other.workers.items())
            if rank in silent and (head := worker.head()) is not None
        ]
        one = len(silent) == 1
        return (
            f"{'Rank' if one else 'Ranks'} {', '.join(map(str, silent))} of {self.crew.size} "
            f"{'has not said that it is' if one else 'have not said that they are'} ready: "
            f"{'it' if one else 'each'} imports what the run-function needs, when it has ended what it runs"
            + (f"; {', '.join(busy)}." if busy else ".")
        )
