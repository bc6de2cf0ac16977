"""Takes what workers send: outcomes, records, logs, jobs that they give back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._guard import describe
from evalpool._interrupts import from_a_handler
from evalpool._log import get_logger
from evalpool.backends._other_clock import on_our_clock
from evalpool.backends._pool import _logs, _wire
from evalpool.backends._pool._encoding import DONE, load_outcome
from evalpool.outcomes import FailureKind, Outcome, Worker, failed

if TYPE_CHECKING:
    from evalpool.backends._pool._pool import Pool
    from evalpool.backends._pool._pool_worker import PoolWorker

__all__ = ["Hearing"]

logger = get_logger()

_new: Any = tuple.__new__
FAST_OUTCOME = _wire.FAST_OUTCOME
_ENDS = frozenset({FAST_OUTCOME, _wire.OUTCOME, _wire.LENT})
"""The kinds of frames that end jobs."""


class Hearing:
    """Takes the frames of one pool's workers; used by the thread that does the pool's I/O."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._prefetcher = pool.prefetcher
        self._lock = pool.lock

    def take(self, worker: PoolWorker, frames: list[_wire.Frame]) -> None:
        """Take frames of one worker, in the order in which they were sent."""
        now = monotonic()
        longest = 0.0
        ended: list[tuple[int, int, Outcome]] = []
        facts, elsewhere = worker.facts, worker.elsewhere
        for kind, payload, buffers in frames:
            try:
                if kind == FAST_OUTCOME:
                    for number, which, objective, start, end in payload:
                        # The same as `Outcome(...)`, without a call of a Python function.
                        outcome = _new(Outcome, (DONE, objective, None, None, None, None, start, end, facts, None))
                        if elsewhere:
                            outcome = on_our_clock(outcome)
                        if end - start > longest:
                            longest = end - start
                        ended.append((number, which, outcome))
                    continue
                if kind in _ENDS:
                    number, which = _wire.JOB.unpack_from(payload)
                    outcome = self._outcome(worker, kind, payload, buffers)
                    start, end = outcome.start or now, outcome.end or now
                else:
                    self._take_other(worker, kind, payload, buffers)
                    continue
            except Exception as error:
                if kind not in _ENDS:
                    raise
                text = f"The outcome could not be taken.\n{describe(error)}"
                outcome = failed(FailureKind.WORKER_DIED, text, start=worker.since, end=now, worker=facts)
                taken = {(number, which) for number, which, _ in ended}
                ended += [(*job, outcome) for job in _jobs_in(kind, payload) if job not in taken]
                continue
            if elsewhere:
                outcome = on_our_clock(outcome)
            if end - start > longest:
                longest = end - start
            ended.append((number, which, outcome))
        if not ended:
            return
        with self._lock:
            reports, begins = self._prefetcher.end(worker, ended, longest, now)
        self._pool.reports += reports
        if begins is not None:
            self._pool.port.started(begins, worker.facts)

    def _outcome(self, worker: PoolWorker, kind: int, payload: memoryview, buffers: list[memoryview]) -> Outcome:
        if kind == _wire.LENT:
            try:
                kind, payload, buffers = self._pool.transport.borrow(worker, payload)
            except OSError as error:
                text = f"The result could not be read from shared memory: {error}"
                now = monotonic()
                return failed(FailureKind.UNPICKLABLE, text, start=worker.since, end=now, worker=worker.facts)
        return load_outcome(kind, payload, buffers, worker.facts, worker.since)

    def _take_other(self, worker: PoolWorker, kind: int, payload: memoryview, buffers: list[memoryview]) -> None:
        """Take a frame that ends no job."""
        if kind == _wire.RECORD:
            self._take_record(worker, payload, buffers)
        elif kind == _wire.LOG:
            _logs.show(payload, worker.facts)
        elif kind == _wire.GIVEN_BACK:
            low, high = _wire.RANGE.unpack(payload)
            with self._lock:
                self._prefetcher.give_back(worker, low, high, monotonic())
        elif kind == _wire.STARTED_UP:
            if payload:
                pid, host = _wire.PID.unpack_from(payload)[0], bytes(payload[_wire.PID.size :]).decode()
                worker.facts = Worker(worker.facts.name, host, pid)
            self._pool.staff.started_up(worker)
        else:
            raise ValueError(f"worker {worker.index} sent a frame of kind {kind}, which no worker sends")

    def _take_record(self, worker: PoolWorker, payload: memoryview, buffers: list[memoryview]) -> None:
        number, which = _wire.JOB.unpack_from(payload)
        try:
            budget, objective, runtime, count = _wire.load(payload[_wire.JOB.size :], buffers)
        except BaseException as error:  # a value's own code may raise anything
            if from_a_handler(error):
                raise
            logger.error("A record of job %d could not be unpickled; it is left out.", number, exc_info=error)
            return
        pool = self._pool
        attempt = worker.in_flight.get(number)
        if attempt is None or attempt.number != which:
            stop = True
        else:
            stop = pool.port.recorded(attempt, budget, objective, runtime)
        if stop or pool.port.decides:
            answer = _wire.frame(_wire.DECIDED, _wire.DECISION.pack(number, which, count, stop))
            with self._lock:
                pool.transport.tell(worker, answer)


def _jobs_in(kind: int, payload: Any) -> list[tuple[int, int]]:
    """Return the numbers and attempts of the jobs that a frame ends."""
    if kind == FAST_OUTCOME:
        return [(number, which) for number, which, *_ in payload]
    number, which = _wire.JOB.unpack_from(payload)
    return [(number, which)]
