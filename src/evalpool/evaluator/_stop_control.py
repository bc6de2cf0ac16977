"""Ends jobs early: for a job timeout, `cancel`, the time budget, `suspend`, `close`.

::

    stop(attempt, kind)       CANCELLING, the engine is told         grace: 0.25 s, by default
      _force                  the engine stops it by force           or cannot: the attempt is disowned
    decide(attempt, outcome)  the final outcome of a job that returned after all

All timers are in one heap (`Watchdog`); each is an attempt and an action, which checks whether it is still needed.

The final outcome depends on when the attempt itself began and ended, never on when a timer fired or a result was read:
this process may have been paused (Ctrl-Z, a closed laptop, C code that holds the GIL) while its workers continued. So:

- A job that ended by itself before its deadline, before the end of the time budget or before it was cancelled keeps
  its outcome, however late that is read.
- A job that saw the request to stop as the last thing before it returned did not end by itself.
- A job that ran longer than its job timeout has timed out, even if its result was read before the timer fired.

The times are the worker's. A worker on this host has the same clock (CLOCK_MONOTONIC or similar). For a worker on
another host only the duration is used, from the start that was seen here.
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

__all__ = ["GRACE", "LONGEST_DELAY", "STOP_TEXT", "StopControl"]

logger = get_logger()

READY, CANCELLING = JobStatus.READY, JobStatus.CANCELLING

GRACE = 0.25
"""Seconds between a request to stop and force, by default: enough to notice the request and finish a checkpoint."""

LONGEST_DELAY = 0.1
"""Seconds by which a timer may be late on a busy machine. If it is later, this process was paused."""

LOCK_DELAY = 0.01
"""Seconds by which a timer may be late if nobody holds the interpreter's lock for long: two of its turns. If it is
later, a job in a thread, which needs the lock as the timer does, may be about to end."""

STOP_TEXT = {
    FailureKind.TIMEOUT: "ran over its job timeout",
    FailureKind.CANCELLED: "was cancelled",
    FailureKind.SUSPENDED: "was stopped, to be resumed",
    FailureKind.MEMORY_LIMIT: "used more than its memory limit",
}

FORCED = frozenset({FailureKind.WORKER_DIED, FailureKind.TIMEOUT, FailureKind.CANCELLED, FailureKind.SUSPENDED})
"""The kinds of outcomes of jobs that did not end by themselves."""


class StopControl:
    """Stops the jobs of one evaluator. Any thread may call a method, without the core's lock unless the method says
    otherwise.

    Args:
        core: the evaluator's core.
        backend: is asked to stop attempts.
        after: ``after(seconds, call, *arguments)``, a timer.
        name: of the evaluator's class, for messages.
        origin: when the search began, by `clock`.
        grace: seconds between a request to stop and force.
        may_suspend: whether jobs can be left to be resumed: the storage must outlive this program.
        clock: returns seconds.

    Attributes:
        timeout: the time budget in seconds, or None.
        budget_end: when the time budget is spent, by `clock`.
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
        self._budgets = 0  # how many budgets there have been
        self._budget_suspends = False

    # Requests to stop.

    def stop(self, attempt: Attempt, kind: FailureKind, asked: float = math.inf) -> bool:
        """Ask an attempt to stop, and enforce it after the grace. False if it has ended, or was asked before.

        Args:
            asked: the time since which the job was to stop, if that is before now. A job that ended earlier keeps its
                outcome.
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
            self._after(self._grace, self._force, attempt, now + self._grace, self._usual_delay())
        return True

    def _force(self, attempt: Attempt, due: float, delay: float) -> None:
        """After the grace: stop the job by force, or give up on it."""
        core, job, running = self._core, attempt.job, self._ledger.running
        if running.get(job.number) is not attempt:
            return
        if self._waits_once_more(self._force, attempt, due, delay):
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
            STOP_TEXT[job._stop] if job._stop else "was asked to stop",
            self._name,
            job.objective,
        )
        core.record_ended([job])

    def started(self, attempt: Attempt) -> None:
        """Start the timer of an attempt that begins to run."""
        if attempt.timeout is not None:
            due = self._clock() + attempt.timeout
            self._after(attempt.timeout, self._overtime, attempt, due, self._usual_delay())

    def _overtime(self, attempt: Attempt, due: float, delay: float) -> None:
        if not self._waits_once_more(self._overtime, attempt, due, delay):
            self.stop(attempt, FailureKind.TIMEOUT)

    def _in_threads(self) -> bool:
        return bool(self._backend.workers_are == "threads")

    def _usual_delay(self) -> float:
        return LOCK_DELAY if self._in_threads() else LONGEST_DELAY

    def _waits_once_more(self, call: Callable[..., None], attempt: Attempt, due: float, delay: float) -> bool:
        """Whether a timer fires later than this delay, because this process stood still, and is set once more for that.

        The job's result may have arrived meanwhile and not be read yet. A job in a thread of this process stood still
        with it, so it gets that time back.
        """
        now = self._clock()
        if now - due <= delay:
            return False
        more = max(GRACE, now - due) if self._in_threads() else GRACE
        # From now on only a real pause counts, or a job on a busy machine would have no time limit.
        self._after(more, call, attempt, now + more, LONGEST_DELAY)
        return True

    def asked_to_stop(self, attempt: Attempt) -> bool:
        """Whether this attempt shall stop, or has ended as far as we are concerned."""
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
        """End the ready jobs and ask the running ones to stop (see `stop`); return those that were ready."""
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
        """Begin a time budget, or remove it for None. If `suspends`, jobs that exceed it are left to be resumed."""
        core = self._core
        self.timeout = seconds
        self._budgets += 1
        core.suspends = core.suspends and not core.out_of_time  # the jobs of the previous deadline have ended
        self._budget_suspends = suspends
        self.budget_end = math.inf if seconds is None else self._clock() + seconds
        core.out_of_time = False
        if seconds is not None:
            self._after(seconds, self._spend_budget, self._budgets)

    def time_left(self) -> float | None:
        """Return the seconds left of the budget, 0.0 when it is spent; None without a budget."""
        return None if self.timeout is None else max(0.0, self.budget_end - self._clock())

    def budget_text(self) -> str:
        """Return the reason for which jobs end when the budget is spent."""
        return f"the time budget of {self.timeout} s was spent"

    def _spend_budget(self, which: int) -> None:
        if which == self._budgets and not self._core.closed:
            self._core.out_of_time = True
            if self._budget_suspends:
                self.suspend()
            self.end_all(FailureKind.CANCELLED, self.budget_text(), self.budget_end)

    def suspend(self) -> None:
        """From now on leave unfinished jobs to be resumed. It takes no lock, because signal handlers call it."""
        self._core.suspends = self._may_suspend

    # The final outcome of a job.

    def decide(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        """Return the final outcome of a job whose attempt was reported with `outcome`; under the core's lock."""
        job = attempt.job
        stop = job._stop
        if outcome.start is None or outcome.end is None or outcome.kind in FORCED:
            return outcome if stop is None else self.stopped(attempt, outcome)
        timeout = attempt.timeout
        duration = outcome.end - outcome.start
        if stop is None:
            # Jobs in threads of this process were paused with it, so only the timer decides about them.
            if self._backend.workers_are != "threads":
                if timeout is not None and duration > timeout:
                    job._stop = FailureKind.TIMEOUT
                elif outcome.end > self.budget_end and not self._budget_suspends:
                    self._core.out_of_time = True
                    job._stop = FailureKind.CANCELLED
            return outcome if job._stop is None else self.stopped(attempt, outcome)
        if outcome.stopped_early and job._stopper is None:
            in_time = False  # it returned because it saw the request; its own time may have begun a little later
        elif stop is FailureKind.TIMEOUT:
            in_time = timeout is not None and duration <= timeout
        else:
            in_time = self._end(job, outcome, duration) <= job._asked
        if in_time:
            job._stop = None
            return outcome
        return self.stopped(attempt, outcome)

    def _end(self, job: Job[Any], outcome: Outcome, duration: float) -> float:
        """Return when a job ended, by our clock."""
        assert outcome.end is not None
        worker = outcome.worker
        if worker is None or job._started is None or worker.host == socket.gethostname():
            return outcome.end
        return min(outcome.end, job._started + self._origin + duration)

    def stopped(self, attempt: Attempt, outcome: Outcome | None) -> Outcome:
        """Return the outcome of a job that did not end before it was to stop, whatever it returned.

        Args:
            outcome: what was reported; None if it still runs, or if that is not known.
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
