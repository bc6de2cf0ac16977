"""Whatever ends jobs before they end by themselves: a job timeout, `cancel`, the time budget, `suspend`, `close`.

::

    stop(attempt, kind)       CANCELLING, the engine is told         grace: 0.25 s, by default
      _force                  the engine stops it by force           or cannot: the attempt is disowned
    decide(attempt, outcome)  what a job ends as that came back after all

Timers are those of one heap (`Watchdog`), each an attempt and an action that finds out whether it is still due.

What a job ends as is decided by its outcome's own start and end, never by the moment at which a timer fired or a result
was read: this process may have been held up (Ctrl-Z, a laptop's lid, C code that holds the GIL) while its workers went
on. A job that ended in its own way before its deadline, before the end of the time budget or before it was cancelled
keeps its outcome, however late that is read; one that saw the request to stop as the last thing before it returned has
not ended in its own way; and one that ran over its job timeout has timed out, also where its
result was read before the timer could fire.

The times are those of the worker, on this host by the same clock as ours (CLOCK_MONOTONIC and its like). Of a worker on
another host only the duration counts, from the start that was seen from here.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._interrupts import defer_signals
from evalpool._log import get_logger
from evalpool.outcomes import FINAL, FailureKind, JobStatus, Outcome, failed

if TYPE_CHECKING:
    from evalpool.evaluator._attempt import Attempt
    from evalpool.evaluator._core import Core
    from evalpool.jobs._job import Job

__all__ = ["GRACE", "HELD_UP", "STOP_TEXT", "StopControl"]

logger = get_logger()

READY, CANCELLING = JobStatus.READY, JobStatus.CANCELLING

GRACE = 0.25
"""Seconds between a request to stop and force, unless an evaluator is told otherwise: enough to notice it and write a
checkpoint's last line."""

HELD_UP = 0.1
"""Seconds by which a timer may be late on a busy machine. If it is later, this process was held up, and results may be
there that nobody could read yet: they come first."""

STOP_TEXT = {
    FailureKind.TIMEOUT: "ran over its job timeout",
    FailureKind.CANCELLED: "was cancelled",
    FailureKind.SUSPENDED: "was stopped, to be resumed",
    FailureKind.MEMORY_LIMIT: "used more than its memory limit",
}

FORCED = frozenset({FailureKind.WORKER_DIED, FailureKind.TIMEOUT, FailureKind.CANCELLED, FailureKind.SUSPENDED})
"""How jobs end that do not end by themselves."""


class StopControl:
    """Stops the jobs of one evaluator. Every method may be called from any thread; none is called under the core's
    lock but those that say so.

    Args:
        core: where the jobs run.
        backend: which is asked to stop them.
        after: ``after(seconds, call, *arguments)``: calls it then.
        name: of the evaluator's class, for messages.
        origin: when the search began, by `clock`.
        grace: seconds between a request to stop and force.
        may_suspend: can jobs be left to be resumed, in a storage that outlives this program?
        clock: seconds.

    Attributes:
        timeout: the time budget in seconds, or None.
        budget_end: when it is spent, by `clock`.
    """

    def __init__(
        self,
        core: Core,
        backend: Any,
        after: Callable[..., None],
        *,
        name: str,
        origin: float,
        may_suspend: bool,
        grace: float = GRACE,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._core, self._ledger = core, core.ledger
        self._backend = backend
        self._after, self._clock = after, clock
        self._name = name
        self._origin = origin
        self._may_suspend = may_suspend
        self._grace = grace
        self.timeout: float | None = None
        self.budget_end = math.inf
        self._budgets = 0  # how many there have been
        self._budget_suspends = False

    # Requests to stop.

    def stop(self, attempt: Attempt, kind: FailureKind, asked: float = math.inf) -> bool:
        """Ask an attempt to stop, and make sure that it will have. False if it has ended, or was asked before.

        Args:
            asked: since when it was to stop, if before now: a job that ended before keeps its outcome.
        """
        core, job, now = self._core, attempt.job, self._clock()
        with defer_signals(), core.lock:
            if self._ledger.running.get(job.number) is not attempt or job._stop is not None:
                return False
            job._asked = min(asked, now)
            job._stop = FailureKind.SUSPENDED if core.suspends and kind is FailureKind.CANCELLED else kind
            job._status = CANCELLING
        try:
            self._backend.ask_to_stop(attempt)
        finally:
            self._after(self._grace, self._force, attempt, now + self._grace)
        return True

    def _force(self, attempt: Attempt, due: float = math.inf) -> None:
        """The grace is over: stop the job by force, or give up on it."""
        core, job, running = self._core, attempt.job, self._ledger.running
        if running.get(job.number) is not attempt:
            return
        if self._clock() - due > HELD_UP:  # its outcome may be there, and nobody could read it
            self._after(GRACE, self._force, attempt)
            return
        if self._backend.force_stop(attempt):
            return
        with core.lock:
            if not self._ledger.disown(attempt):
                return
            core.ended(job, self.stopped(attempt, None))
        logger.warning(
            "Job %s %s and %s cannot stop it: it is reported as %s; its slot is free again when it ends.",
            job.id,
            STOP_TEXT[job._stop] if job._stop else "was to stop",
            self._name,
            job.objective,
        )
        core.record_ended([job])

    def started(self, attempt: Attempt) -> None:
        """An attempt begins to run: its timeout counts from here."""
        if attempt.timeout is not None:
            self._after(attempt.timeout, self._overtime, attempt, self._clock() + attempt.timeout)

    def _overtime(self, attempt: Attempt, due: float = math.inf) -> None:
        if self._clock() - due > HELD_UP:  # what came meanwhile is read first
            self._after(GRACE, self._overtime, attempt)
        else:
            self.stop(attempt, FailureKind.TIMEOUT)

    def asked_to_stop(self, attempt: Attempt) -> bool:
        """Shall this attempt stop, or has it ended for us?"""
        job = attempt.job
        return job._stop is not None or self._ledger.running.get(job.number) is not attempt

    # Many jobs.

    def cancel(self, jobs: list[Job[Any]]) -> int:
        """As `Evaluator.cancel`."""
        core = self._core
        running: list[Attempt] = []
        ended: list[Job[Any]] = []
        count = 0
        with core.lock:
            for job in jobs:
                if job._status is READY:
                    core.ended(job, failed(FailureKind.CANCELLED, "cancelled before it ran"))
                    ended.append(job)
                    count += 1
                elif core.leave([job], "it was cancelled here"):
                    count += 1
                elif job._status not in FINAL and (attempt := self._ledger.running.get(job.number)) is not None:
                    running.append(attempt)
        core.record_ended(ended)
        return count + sum(self.stop(attempt, FailureKind.CANCELLED) for attempt in running)

    def end_all(self, kind: FailureKind, reason: str, asked: float = math.inf) -> list[Job[Any]]:
        """End what waits, ask what runs to stop (see `stop`); returns those that waited."""
        core = self._core
        with core.lock:
            ended = core.end_ready(kind, reason)
            left = core.leave(None, reason)
            running = list(self._ledger.running.values())
        core.record_ended(ended)
        for attempt in running:
            self.stop(attempt, kind, asked)
        return ended + left

    # The time budget, and leaving jobs to be resumed.

    def set_budget(self, seconds: float | None, suspends: bool) -> None:
        """Begin a time budget, or lift it; what has not ended when it is spent is left to be resumed if `suspends`."""
        core = self._core
        self.timeout = seconds
        self._budgets += 1
        core.suspends = core.suspends and not core.out_of_time  # those of the deadline before have ended
        self._budget_suspends = suspends
        self.budget_end = math.inf if seconds is None else self._clock() + seconds
        core.out_of_time = False
        if seconds is not None:
            self._after(seconds, self._spend_budget, self._budgets)

    def time_left(self) -> float | None:
        """Seconds left of the budget, 0.0 when it is spent; None without one."""
        return None if self.timeout is None else max(0.0, self.budget_end - self._clock())

    def budget_text(self) -> str:
        """Why jobs end when it is spent."""
        return f"the time budget of {self.timeout} s was spent"

    def _spend_budget(self, which: int) -> None:
        if which == self._budgets and not self._core.closed:
            self._core.out_of_time = True
            if self._budget_suspends:
                self.suspend()
            self.end_all(FailureKind.CANCELLED, self.budget_text(), self.budget_end)

    def suspend(self) -> None:
        """From now on leave what ends unfinished to be resumed; also from a signal's handler: it takes no lock."""
        self._core.suspends = self._may_suspend

    # What a job ends as.

    def decide(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        """What a job ends as whose attempt came back with `outcome`; under the core's lock."""
        job = attempt.job
        stop = job._stop
        if outcome.start is None or outcome.end is None or outcome.kind in FORCED:
            return outcome if stop is None else self.stopped(attempt, outcome)
        timeout = attempt.timeout
        duration = outcome.end - outcome.start
        if stop is None:
            # Jobs in threads of this process were held up with it: theirs is the timer's word.
            if self._backend.workers_are != "threads":
                if timeout is not None and duration > timeout:
                    job._stop = FailureKind.TIMEOUT
                elif outcome.end > self.budget_end and not self._budget_suspends:
                    self._core.out_of_time = True
                    job._stop = FailureKind.CANCELLED
            return outcome if job._stop is None else self.stopped(attempt, outcome)
        if outcome.stopped_early and job._stopper is None:
            in_time = False  # it saw the request, and returned for that; its own clock may have begun a little later
        elif stop is FailureKind.TIMEOUT:
            in_time = timeout is not None and duration <= timeout
        else:
            in_time = self._end(job, outcome, duration) <= job._asked
        if in_time:
            job._stop = None
            return outcome
        return self.stopped(attempt, outcome)

    def _end(self, job: Job[Any], outcome: Outcome, duration: float) -> float:
        """When a job ended, on our clock."""
        assert outcome.end is not None
        worker = outcome.worker
        if worker is None or job._started is None or worker.host == socket.gethostname():
            return outcome.end
        return min(outcome.end, job._started + self._origin + duration)

    def stopped(self, attempt: Attempt, outcome: Outcome | None) -> Outcome:
        """The outcome of a job that did not end before it was to stop, whatever it returned meanwhile.

        Args:
            outcome: with which it came back; None: it runs still, or nobody knows.
        """
        job = attempt.job
        kind = job._stop or FailureKind.CANCELLED
        reason = STOP_TEXT[kind]
        if kind is FailureKind.TIMEOUT:
            reason = f"ran over its job timeout of {attempt.timeout} s"
        elif kind in (FailureKind.CANCELLED, FailureKind.SUSPENDED) and self._core.out_of_time:
            reason = self.budget_text()
        if outcome is None:
            if job._started is None:
                return failed(kind, reason)
            return failed(kind, reason, start=job._started + self._origin, end=self._clock())
        return failed(
            kind, reason, metadata=outcome.metadata, start=outcome.start, end=outcome.end, worker=outcome.worker
        )
