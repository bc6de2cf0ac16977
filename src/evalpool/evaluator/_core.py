"""The one lock of an evaluator, and what happens under it: jobs get slots, attempts end, results reach their inboxes.

::

    accept(jobs, inbox)            the caller's thread, `submit`
      the ledger has them; _fill: ledger.take ─► backend.run(attempts)      without the lock
    report([(attempt, outcome)])   any thread, from the backend
      ledger.end: the slot is free
      a retry: ready again; else `ended`: the job has its outcome           _fill, for the ready jobs
    ended(job, outcome)            delivered at once; where time is simulated, held back until its virtual end
    deliver(job, outcome)          sets status and outcome; puts the job into the inbox of its submitter
    wait(inbox, size, deadline)    the caller's thread, `gather`; take(inbox)

The lock is held for a few bytecodes per job. No backend, storage or callback is called under it; only `acquire` and
`release` of the scheduler's resources are. One thread at a time hands attempts to the backend, without the lock. If
another thread frees a slot meanwhile, it leaves the slot to the first thread, which looks again before it returns. So
`Backend.run` is never called by two threads at the same time.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._guard import describe
from evalpool._interrupts import Condition, defer_signals, is_deferred
from evalpool._log import get_logger
from evalpool.evaluator._settings import with_stopped_early
from evalpool.jobs._inbox import Inbox
from evalpool.outcomes import FailureKind, JobStatus, Outcome, failed

if TYPE_CHECKING:
    from evalpool.evaluator._attempt import Attempt
    from evalpool.evaluator._ledger import JobLedger
    from evalpool.evaluator._stop_control import StopControl
    from evalpool.evaluator._timeline import Timeline
    from evalpool.jobs._job import Job

__all__ = ["Core"]

logger = get_logger()

UNFINISHED = frozenset({FailureKind.CANCELLED, FailureKind.WORKER_DIED})
"""The kinds that `suspend` turns into SUSPENDED. WORKER_DIED: a batch system's signal may kill the workers, too."""


class Core:
    """The lock, the pump, and the way of results into inboxes. Any thread may call a method, without holding the lock,
    unless the method says "under the lock".

    Args:
        ledger: where the jobs are.
        backend: what runs them.
        name: of the evaluator's class, for messages.
        timeline: of simulated time; None where time is real.
        has_stopper: whether outcomes say that a stopper ended the job.

    Attributes:
        inbox: of `gather`; each `as_completed` has one of its own.
        started: whether the engine is running; set by the evaluator.
        closed, out_of_time: no job starts any more. Plain attributes, because a signal handler may set them.
        suspends: unfinished jobs are left to be resumed. A plain attribute for the same reason.
        unrecorded: numbers of jobs whose outcome a durable storage does not have yet; None without such a storage.
        has_deadlines: whether any job has a time limit: `job_timeout`, or one of its own.
        wakes_at_every_report: a thread waits for the end of one attempt, not for jobs in an inbox.
        recording: how many threads record what has ended, and fill the free slots after that.
        stops: ends jobs early.
        record: hands outcomes to a durable storage; set by the evaluator.
        leave: ``leave(jobs, reason)`` gives back those jobs that another evaluator has claimed; all such jobs, if
            `jobs` is None. Called under the lock.
    """

    stops: StopControl

    def __init__(
        self,
        ledger: JobLedger,
        backend: Any,
        *,
        name: str,
        timeline: Timeline | None = None,
        has_stopper: bool = False,
    ) -> None:
        self.lock = threading.Lock()
        self.condition = Condition(self.lock)
        self.ledger = ledger
        self.backend = backend
        self.inbox = Inbox()
        self.num_submitted = self.num_gathered = self.recording = 0
        self.started = self.closed = self.out_of_time = self.suspends = False
        self.unrecorded: set[int] | None = None
        self.wakes_at_every_report = False
        self.record: Callable[[list[Job[Any]]], None] | None = None
        self.leave: Callable[[list[Job[Any]] | None, str], list[Job[Any]]] = _none_left
        self._name = name
        self._timeline = timeline
        self.ended: Callable[[Job[Any], Outcome], None] = self.deliver if timeline is None else timeline.ended
        self._has_stopper = has_stopper
        self._filling = False
        self._add = ledger.scheduler.add
        self.has_deadlines = ledger.job_timeout is not None

    # Jobs get slots.

    def accept(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        """Queue new jobs, whose results go to `inbox`; work starts. The caller has deferred signals."""
        with self.lock:
            # In one line, so that an interrupt finds either all of it done or none of it.
            self._add(jobs); inbox.outstanding += len(jobs); self.num_submitted += len(jobs)  # noqa: E702  # fmt: skip
            if self.ledger.free > 0:
                self._fill()
        if self.ledger.troubles:
            self._log_troubles()

    def queue(self, jobs: list[Job[Any]], inbox: Inbox, alone: bool = False) -> None:
        """As `accept`, for jobs that already count as submitted. If `alone`, each runs while no other job does."""
        add = self.ledger.accept_last_chances if alone else self._add
        with defer_signals(), self.lock:
            add(jobs); inbox.outstanding += len(jobs)  # noqa: E702  # fmt: skip
            self._fill()
        if self.ledger.troubles:
            self._log_troubles()

    def accept_last_chances(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        """Queue jobs that may have ended earlier evaluators; each runs while no other job does."""
        with defer_signals():
            with self.lock:
                self.num_submitted += len(jobs)
            self.queue(jobs, inbox, alone=True)

    def accept_ended(self, jobs: list[tuple[Job[Any], Outcome | None]], inbox: Inbox) -> None:
        """Put jobs that need not run into their inbox: with the given outcome, or for None with the one they have."""
        with defer_signals(), self.lock:
            inbox.outstanding += len(jobs)
            self.num_submitted += len(jobs)
            for job, outcome in jobs:
                if outcome is None:
                    inbox.done.append(job)
                else:
                    self.deliver(job, outcome)
            self.wake_waiting(inbox)

    def pump(self) -> None:
        """Fill free slots with ready jobs; returns at once if another thread already does that."""
        with defer_signals(), self.lock:
            self._fill()
        if self.ledger.troubles:
            self._log_troubles()

    def pump_what_is_left(self) -> None:
        """Continue with jobs that stayed in the queue because an interrupt came while earlier jobs were handed over."""
        if self.ledger.free > 0 and self.ledger.scheduler:
            self.pump()

    def _fill(self) -> None:
        """Under the lock, which is released while attempts are handed over: fill free slots with ready jobs."""
        if self._filling:
            return
        ledger = self.ledger
        self._filling = True
        try:
            while (
                ledger.free > 0
                and (ledger.fresh or ledger.urgent or ledger.later or ledger.last_chances)
                and self._take_and_run()
            ):
                pass
        except BaseException:
            self._give_up_handing(FailureKind.CANCELLED, "interrupted while it was handed to a worker")
            raise
        finally:
            self._filling = False
            ledger.handing = []
            if self.wakes_at_every_report:
                self.condition.notify_all()

    def _take_and_run(self) -> bool:
        """Under the lock, released meanwhile: hand over as many jobs as there are free slots; False if it was none."""
        if self.closed:
            return False
        if self.out_of_time:
            self.end_ready(FailureKind.CANCELLED, self.stops.budget_text())
            return False
        try:
            attempts, unable = self.ledger.take()
            for job, outcome in unable:
                if not self._tries_again(job, outcome):
                    self.ended(job, outcome)
            if not attempts:
                return bool(unable)
            self.lock.release()
            try:
                self.backend.run(attempts)
            finally:
                self.lock.acquire()
        except Exception as error:  # noqa: BLE001  ours, or the engine's: our caller cannot do anything about it
            self.ledger.troubles.append(("Handing jobs to workers", error))
            text = f"{self._name} could not dispatch the job.\n{describe(error)}"
            self._give_up_handing(FailureKind.WORKER_DIED, text)
        return True

    def _give_up_handing(self, kind: FailureKind, text: str) -> None:
        """Under the lock: handing over failed, and it is not known for which jobs; none may be lost."""
        for attempt in self.ledger.give_up_handing():
            self.ended(attempt.job, failed(kind, text))

    def add_slots(self, change: int) -> None:
        """Change the number of slots by `change`, which may be negative."""
        with self.lock:
            self.ledger.add_slots(change)
        if change > 0:
            self.pump()

    def _log_troubles(self) -> None:
        """Log the errors that were raised under the lock, where no log handler of the program may run."""
        troubles = self.ledger.troubles
        while troubles:
            with contextlib.suppress(IndexError):  # another thread was faster
                what, error = troubles.popleft()
                logger.error("%s raised; the search goes on.", what, exc_info=error)

    # Attempts end.

    def report(self, reports: list[tuple[Attempt, Outcome]]) -> None:
        """Take the outcomes of attempts and refill their slots. Any thread, which holds no lock."""
        if self.record is not None:
            self._report_and_record(reports)
        elif is_deferred():
            with self.lock:
                if self._end(reports):  # without releasing the lock: taking it again costs as much as all this
                    self._fill()
        else:
            with defer_signals(), self.lock:
                if self._end(reports):
                    self._fill()
        if self.ledger.troubles:
            self._log_troubles()

    def _report_and_record(self, reports: list[tuple[Attempt, Outcome]]) -> None:
        """As `report`, with a durable storage: what has ended is recorded before what starts now."""
        ended: list[Job[Any]] = []
        recording = False
        try:
            with defer_signals(), self.lock:
                if self._end(reports, ended.append):
                    self.recording += 1; recording = True  # noqa: E702  # fmt: skip
            self.record_ended(ended)
        finally:
            if recording:
                self._fill_after_recording()

    def _end(self, reports: list[tuple[Attempt, Outcome]], note: Callable[[Job[Any]], None] | None = None) -> bool:
        """Under the lock: take the outcomes of attempts; return whether jobs wait for the slots that are free now.

        Args:
            note: is called with each job that has ended.
        """
        ledger, stops, deliver = self.ledger, self.stops, self.ended
        has_stopper, limited = self._has_stopper, self.has_deadlines or stops.budget_end < math.inf
        for attempt, outcome in reports:
            try:
                if not ledger.end(attempt):
                    continue
                job = attempt.job
                if limited or job._stop is not None:
                    outcome = stops.decide(attempt, outcome)
                if has_stopper:
                    outcome = with_stopped_early(job, outcome)
                if outcome.kind is not None and self._tries_again(job, outcome):
                    continue
                if note is not None:
                    note(job)
                deliver(job, outcome)
            except Exception as error:  # noqa: BLE001  else the job would be in no queue any more
                self._end_after_error(attempt, error)
        if self.closed:
            self.condition.notify_all()
            return False
        if self.wakes_at_every_report:
            self.condition.notify_all()
        return bool(ledger.fresh or ledger.urgent or ledger.later or ledger.last_chances)

    def _fill_after_recording(self) -> None:
        """As `pump`, and count this thread's recording as done."""
        with defer_signals(), self.lock:
            self.recording -= 1
            self._fill()  # by another thread, if that is about it; who waits for this hears of its end

    @property
    def is_refilling(self) -> bool:
        """Under the lock: whether a thread is about to hand jobs to the engine, or to find that there are none."""
        return self._filling or self.recording > 0

    def _tries_again(self, job: Job[Any], outcome: Outcome) -> bool:
        """Under the lock: make a failed job ready again, if it has retries left; whether that was done.

        Not in simulated time, where this is decided at the job's virtual end.
        """
        return self._timeline is None and self.may_retry and self.ledger.retry(job, outcome)

    @property
    def may_retry(self) -> bool:
        """Under the lock: whether a failed job may start again."""
        return not (self.closed or self.out_of_time or self.suspends)

    def _end_after_error(self, attempt: Attempt, error: BaseException) -> None:
        """Under the lock: taking an outcome raised; the job ends nevertheless, and its slot is freed."""
        ledger, job = self.ledger, attempt.job
        ledger.troubles.append((f"Taking the outcome of job {job.id}", error))
        ledger.end_after_error(attempt)
        if job._outcome is None and job.number not in ledger.running and job not in ledger.scheduler:
            self.ended(job, failed(FailureKind.WORKER_DIED, f"Its outcome could not be taken.\n{describe(error)}"))

    def lost(self, has: Callable[[], set[int]], capacity: int, error: BaseException) -> bool:
        """After an error in an engine: end, as failures, running jobs that the engine does not have any more.

        Returns whether to call this again soon: another thread is handing jobs over, and may have handed over some that
        the engine has lost by now.

        Args:
            has: returns the numbers of the jobs that the engine has; called without the lock.
            capacity: the engine's slots.
            error: the engine's error.
        """
        with self.lock:
            handing = set(self.ledger.handing)
            running = [attempt for attempt in self.ledger.running.values() if attempt not in handing]
            self.ledger.recount(capacity)
        known = has()
        text = f"evalpool lost the job by an error of its own.\n{describe(error)}"
        lost = [attempt for attempt in running if attempt.job.number not in known]
        self.report([(attempt, failed(FailureKind.WORKER_DIED, text)) for attempt in lost])
        self.pump()
        return bool(handing)

    def record_ended(self, jobs: list[Job[Any]]) -> None:
        """Tell a durable storage of jobs that have ended. In simulated time this is done later, at their delivery."""
        if jobs and self.record is not None and self._timeline is None:
            self.record(jobs)

    # Results.

    def deliver(self, job: Job[Any], outcome: Outcome) -> None:
        """Under the lock: set the job's outcome and put the job into its inbox."""
        if self.suspends and outcome.kind in UNFINISHED and job._stop is not FailureKind.CANCELLED:
            outcome = outcome._replace(
                status=JobStatus.CANCELLED, objective="F_CANCELLED", kind=FailureKind.SUSPENDED,
                error=f"left to be resumed: {outcome.error}",
            )  # fmt: skip
        job._outcome = outcome
        job._status = outcome.status
        if self.unrecorded is not None:
            self.unrecorded.add(job.number)
        inbox = job._inbox
        if inbox is not None:  # the same as `put`, without the cost of a call for each job
            inbox.done.append(job)
            if len(inbox.done) >= inbox.want:
                self.condition.notify_all()
            if inbox.watchers:
                inbox.wake_watchers()

    def put(self, inbox: Inbox, job: Job[Any]) -> None:
        """Under the lock: put a job into an inbox and wake whoever waits for it."""
        inbox.done.append(job)
        if len(inbox.done) >= inbox.want:
            self.condition.notify_all()
        if inbox.watchers:
            inbox.wake_watchers()

    def end_ready(self, kind: FailureKind, reason: str) -> list[Job[Any]]:
        """Under the lock: end every ready job; return them."""
        ended = self.ledger.remove_all_ready()
        for job in ended:
            self.ended(job, failed(kind, reason))
        return ended

    def wake_waiting(self, inbox: Inbox) -> None:
        """Under the lock: wake who waits, since the number of outstanding jobs changed without a report."""
        if inbox.waiting or self.closed:
            self.condition.notify_all()
        inbox.wake_watchers()

    # Waiting for results.

    def wait(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        """Block without using CPU until `inbox` has `size` jobs, or all that are outstanding."""
        with defer_signals(), self.lock:
            inbox.enter(size)
            try:
                while True:
                    outstanding = inbox.outstanding
                    if len(inbox.done) >= (size if size < outstanding else outstanding):  # `needed`, without a call
                        return
                    rest = None if deadline is None else deadline - monotonic()
                    if rest is not None and rest <= 0:
                        return
                    self.condition.wait(rest)
            finally:
                inbox.leave(size)

    def take(self, inbox: Inbox) -> list[Job[Any]]:
        """Take all finished jobs from an inbox. Who is interrupted before it can return them calls `put_back`."""
        with self.lock:
            jobs = inbox.take()
            self.num_gathered += len(jobs)
            if inbox.waiting or inbox.watchers or self.closed:
                self.wake_waiting(inbox)
        return jobs

    def put_back(self, inbox: Inbox, jobs: list[Job[Any]]) -> None:
        """Undo `take`: the next `take` returns these jobs."""
        with defer_signals(), self.lock:
            inbox.put_back(jobs)
            self.num_gathered -= len(jobs)

    def take_unfinished(self, unfinished: list[Job[Any]]) -> tuple[list[Job[Any]], list[Job[Any]]]:
        """At the end, take from the inbox the jobs that `close` returns, and leave the others to `gather`.

        Returns:
            All jobs that were in the inbox; and those that were taken, ordered by number. A `gather` in another thread
            may have taken some before: each job is returned once.
        """
        inbox, taken = self.inbox, set(map(id, unfinished))
        with self.lock:
            finished = list(inbox.done)
            rest = [job for job in finished if id(job) not in taken]
            unfinished = sorted((job for job in finished if id(job) in taken), key=lambda job: job.number)
            inbox.done.clear()
            inbox.done.extend(rest)
            inbox.outstanding = len(rest)
            self.num_gathered += len(finished) - len(rest)
            self.wake_waiting(inbox)
        return finished, unfinished

    def wait_until_idle(self, seconds: float) -> None:
        """Wait until no job runs, at most `seconds`."""
        deadline = monotonic() + seconds
        with self.lock:
            while self.ledger.running and (rest := deadline - monotonic()) > 0:
                self.condition.wait(rest)

    def end_running(self) -> None:
        """End the jobs that a stopped engine did not report, each for the reason for which it was to be stopped."""
        with self.lock:
            left = list(self.ledger.running.values())
            for attempt in left:
                self.ledger.end(attempt)
                self.ended(attempt.job, self.stops.stopped(attempt, None))
        self.record_ended([attempt.job for attempt in left])

    def jobs_of(self, inbox: Inbox) -> list[Job[Any]]:
        """Return the jobs of one inbox that have not ended. Costs the jobs that have not ended."""
        with self.lock:
            jobs = [attempt.job for attempt in self.ledger.running.values()] + self.ledger.ready()
        return [job for job in jobs if job._inbox is inbox]

    def held(self, jobs: list[Job[Any]]) -> list[Job[Any]]:
        """Return these jobs and all that are ready, running, or in an inbox. Costs their number."""
        with self.lock:
            held = [*jobs, *self.ledger.ready(), *(attempt.job for attempt in self.ledger.running.values())]
            inboxes = {id(job._inbox): job._inbox for job in held if job._inbox is not None}
            inboxes[id(self.inbox)] = self.inbox
            for inbox in inboxes.values():
                held += inbox.done
        return held

    def after_fork(self) -> None:
        """In a forked child: drop the parent's jobs, and replace the lock, which a thread of the parent may hold."""
        self.closed = True
        self.lock = threading.Lock()
        self.condition = Condition(self.lock)
        self.inbox = Inbox()
        self.ledger.forget()


def _none_left(jobs: list[Job[Any]] | None, reason: str) -> list[Job[Any]]:
    return []
