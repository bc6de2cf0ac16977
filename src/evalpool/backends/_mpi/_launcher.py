"""The launcher of MPI ranks: they run already, cannot be killed, and end together."""

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
from evalpool.backends._pool._prefetcher import PoolWorker
from evalpool.outcomes import Worker

__all__ = ["RankLauncher"]

logger = get_logger()

GIVE_UP_AFTER = 10.0
"""Seconds without a word of any rank after which jobs that wait for one are given up, if `job_timeout` is not longer: a
rank that is in C code for so long after its job should have ended may well be there for ever."""


class RankLauncher(Launcher):
    """Takes ranks for workers; each is known by its number.

    Args:
        crew: the ranks.
        transport: to them.
        setup: what each needs, as a frame in one piece.
        isolated: each rank runs jobs in a child process.
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
        """No rank can be killed without all others."""

    def describe_end(self, worker: PoolWorker) -> str:
        return f"Rank {worker.index} ended."

    def force_stop(self, worker: PoolWorker, attempt: Any) -> bool:
        force = _wire.frame(FORCE, _wire.JOB.pack(attempt.job.number, attempt.number))
        if self._isolated:  # it is killed, which is its outcome
            self._transport.tell(worker, force)
            return True
        # In the rank itself it is interrupted, and may not hear it (C code that holds the GIL). The steal goes
        # first: who reads that the job shall end has read by then that the next one is not to begin.
        self._pool.expect_nothing_of(worker)
        self._transport.tell(worker, force)
        if self._all_unresponsive():
            self._pool.port.after(self._patient_for(), self._pool.command, self._lose_hope)
        return False

    def _all_unresponsive(self) -> bool:
        return all(worker.unresponsive for worker in self._pool.workers.values())

    def _patient_for(self) -> float:
        """Seconds that jobs wait for ranks of which none says anything any more."""
        attempts = [each for worker in self._pool.workers.values() for each in worker.in_flight.values()]
        return max([GIVE_UP_AFTER, *(attempt.timeout or 0.0 for attempt in attempts)])

    def _lose_hope(self) -> None:
        """No rank has said anything for long: what waits for one ends, so that nobody waits for ever."""
        with self._pool.lock:
            if not self._all_unresponsive() or self._transport.heard_at > monotonic() - self._patient_for():
                return
            ranks = ", ".join(map(str, self._pool.workers))
        self._pool.broken = (
            f"All ranks that run jobs ({ranks}) are in jobs that were to stop {self._patient_for():.0f} s ago and "
            'cannot be interrupted: C code that does not return. isolation="process" lets such a job be killed.'
        )
        logger.error("%s Jobs that wait for a rank fail until one answers.", self._pool.broken)

    def busy_ranks(self) -> list[int]:
        """The ranks that have jobs, or have not said yet that they are ready for them."""
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
