"""The root's side of one evaluator: jobs out, outcomes in."""

from __future__ import annotations

import socket

from evalpool._clock import monotonic
from evalpool._log import get_logger
from evalpool._mpi._crew import Crew
from evalpool._mpi._patience import Patience
from evalpool.backends._mpi._rank import FORCE, TIMED
from evalpool.backends._pool import _wire
from evalpool.backends._pool._ahead import Ahead, Entry, Seat
from evalpool.evaluator._evaluator import Evaluator
from evalpool.outcomes import Worker

__all__ = ["Root"]

logger = get_logger()

MOST_AT_ONCE = 256
"""Messages that are read before what they say is reported."""
GIVE_UP_AFTER = 10.0
"""Seconds without a word of any rank after which jobs that wait for one are given up, if `job_timeout` is not longer: a
rank that is in C code for so long after its job should have ended may well be there for ever."""


class Root(Ahead):
    """The ranks as workers of one evaluator.

    Args:
        owner: the evaluator.
        crew: the ranks.
        tag: that tells this evaluator's messages from others'.
        setup: the frame with the task, in one piece.
        busy_wait: see `MPICommEvaluator`.
        isolated: each rank runs jobs in a child process.
    """

    _hears_between_jobs = True

    def __init__(
        self, owner: Evaluator, crew: Crew, tag: int, setup: bytes, *, busy_wait: bool, isolated: bool
    ) -> None:
        super().__init__(owner, "evalpool-mpi-io")
        self._crew, self._tag, self._isolated = crew, tag, isolated
        self._heard_at = 0.0
        self._timed: set[int] = set()  # ranks that were told that jobs have time limits
        self._status = crew.mpi.Status()
        self._any = crew.mpi.ANY_SOURCE
        self._patience = Patience(self._look, busy_wait, self._expecting)
        host = socket.gethostname()
        for rank in crew.others[: owner._num_workers]:
            member = crew.members[rank]
            self._seats[rank] = Seat(rank, Worker(f"mpi-{rank}", member.host, member.pid), member.host != host)
            crew.send(crew.work, setup, rank, tag)
        self._thread.start()

    def busy_ranks(self) -> list[int]:
        """The ranks that have jobs, or have not said yet that they are ready for them."""
        return [rank for rank, seat in self._seats.items() if seat.in_flight or not seat.ready]

    def _describe_shortage(self) -> str:
        silent = [rank for rank, seat in list(self._seats.items()) if not seat.ready]
        busy = [
            f"rank {rank} runs job {head.job.id} of another evaluator of this program"
            for other in self._shortage.others()
            for rank, seat in list(other._seats.items())
            if other._crew is self._crew and rank in silent and (head := seat.head()) is not None
        ]
        one = len(silent) == 1
        return (
            f"{'Rank' if one else 'Ranks'} {', '.join(map(str, silent))} of {self._crew.size} "
            f"{'has not said that it is' if one else 'have not said that they are'} ready: "
            f"{'it' if one else 'each'} imports what the run-function needs, when it has ended what it runs"
            + (f"; {', '.join(busy)}." if busy else ".")
        )

    def stop(self, now: bool) -> None:
        """End the I/O thread."""
        self._stopping = True
        self._wake()
        self._thread.join(10.0)

    def _run(self) -> bool:
        try:
            self._serve()
        finally:
            self._lead.close()
        return False

    def _wake(self) -> None:
        self._patience.wake()

    def _look(self) -> bool:
        return bool(self._crew.work.Iprobe(self._any, self._tag, self._status))

    def _expecting(self) -> bool:
        return any(seat.in_flight or seat.recalled or not seat.ready for seat in self._seats.values())

    def _poll(self, timeout: float | None) -> bool:
        return self._patience.wait(self._rest(timeout))

    def _handle_events(self, found: bool) -> None:
        heard: dict[int, list[_wire.Frame]] = {}
        count = 0
        crew, status = self._crew, self._status
        while found and count < MOST_AT_ONCE:
            source = status.Get_source()
            try:
                data = crew.receive(crew.work, status)
                _wire.FrameReader.parse(memoryview(data), heard.setdefault(source, []))
            except BaseException as error:  # noqa: BLE001  no memory is left: what others have said is still taken
                self._went_wrong(self._seats.get(source), error)
                break
            count += 1
            found = self._look()
        if heard:
            self._heard_at = monotonic()
            self._hopeless = ""
        for rank, frames in heard.items():
            try:
                self._take(self._seats[rank], frames)
            except BaseException as error:  # noqa: BLE001  ours; the caller that leads could do nothing about it
                self._went_wrong(self._seats[rank], error)
        self._conclude_turn()

    def _send(self, seat: Seat, pieces: list[bytes | memoryview]) -> None:
        if self._owner._has_deadlines and seat.index not in self._timed:
            self._timed.add(seat.index)
            pieces = [*_wire.frame(TIMED, b""), *pieces]
        message = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._crew.send(self._crew.work, message, seat.index, self._tag)
        if self._patience.dormant:
            self._patience.wake()

    def _tell(self, seat: Seat, pieces: list[bytes | memoryview]) -> None:
        self._crew.send(self._crew.orders, b"".join(pieces), seat.index, self._tag)

    def _force(self, seat: Seat, entry: Entry) -> bool:
        if self._isolated:  # it is killed, which is its outcome
            self._tell(seat, _wire.frame(FORCE, _wire.JOB.pack(entry.job.number, entry.attempt)))
            return True
        # In the rank itself it is interrupted, and may not hear it (C code that holds the GIL). The withdrawal goes
        # first: who reads that the job shall end has read by then that the next one is not to begin.
        self._expect_nothing_of(seat)
        self._tell(seat, _wire.frame(FORCE, _wire.JOB.pack(entry.job.number, entry.attempt)))
        if self._all_unresponsive():
            self._owner._watchdog.after(self._patient_for(), self._command, self._lose_hope)
        return False

    def _all_unresponsive(self) -> bool:
        return all(seat.deaf for seat in self._seats.values())

    def _patient_for(self) -> float:
        """Seconds that jobs wait for ranks of which none says anything any more."""
        default = self._owner._job_timeout
        entries = [entry for seat in self._seats.values() for entry in seat.in_flight.values()]
        return max(GIVE_UP_AFTER, *(entry.job.options.limit(default) or 0.0 for entry in entries))

    def _lose_hope(self) -> None:
        """No rank has said anything for long: what waits for one ends, so that nobody waits for ever."""
        with self._lock:
            if not self._all_unresponsive() or self._heard_at > monotonic() - self._patient_for():
                return
            ranks = ", ".join(map(str, self._seats))
        self._hopeless = (
            f"All ranks that run jobs ({ranks}) are in jobs that were to stop {self._patient_for():.0f} s ago and "
            'cannot be interrupted: C code that does not return. isolation="process" lets such a job be killed.'
        )
        logger.error("%s Jobs that wait for a rank fail until one answers.", self._hopeless)

    def _on_other(self, seat: Seat, kind: int, payload: memoryview) -> None:
        if kind == _wire.STARTED_UP:
            self._started_up(seat)
        else:
            self._given_back(seat, [_wire.RANGE.unpack(payload)])
