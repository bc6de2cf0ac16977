"""The one lock of an evaluator, and what happens under it: jobs get slots, attempts end, results reach their inboxes.

::

    accept(jobs, inbox)            the caller's thread, `submit`
      the ledger has them; _fill: ledger.take ─► backend.run(attempts)      without the lock
    report([(attempt, outcome)])   any thread, from the backend
      ledger.end: the slot is free
      a retry: ready again, or `ended`: the job has its outcome             _fill, for what is ready
    ended(job, outcome)            delivered at once; where time is simulated, held back until its virtual end
    deliver(job, outcome)          status and outcome, for everybody to see; into the inbox of who submitted it
    wait(inbox, size, deadline)    the caller's thread, `gather`; take(inbox)

The lock is held for a few bytecodes a job. No backend, no storage and no callback is called under it; the resources of
the scheduler are, which exist to be. One thread at a time hands attempts to the backend, without the lock: another one
that frees a slot meanwhile leaves it to that one, which looks again before it ends. So `Backend.run` needs no lock
against itself.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._guard import describe
from evalpool._interrupts import Condition, defer_signals
from evalpool._log import get_logger
from evalpool.evaluator._settings import told_by_stopper
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
"""The kinds that `suspend` turns into SUSPENDED: a batch system's signal may reach the workers, too."""


class Core:
    """The lock, the pump, and the way of results into inboxes. Methods are for any thread, without the lock, but those
    that say "under the lock".

    Args:
        ledger: where the jobs are.
        backend: what runs them.
        name: of the evaluator's class, for messages.
        timeline: of simulated time; None where time is real.
        has_stopper: is it to be said of each job whether a stopper ended it?

    Attributes:
        inbox: of `gather`; each `as_completed` has one of its own.
        started: is the engine up? Set by the evaluator.
        closed, out_of_time, suspends: no job starts any more; and what ends unfinished is left to be resumed. Plain
            attributes, which a signal's handler may set.
        unrecorded: numbers of jobs whose outcome a durable storage does not have yet; None without one.
        has_deadlines: may any job run only so long? From the first one with a time limit of its own on.
        wakes_at_every_report: somebody waits for the end of one attempt, not for jobs.
        stops: what ends jobs before they end by themselves.
        record: hands outcomes to a durable storage; set by the evaluator.
        leave: gives back those of some jobs that another evaluator claimed, with the reason. Of all, for None; under
            the lock.
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
        self.num_submitted = self.num_gathered = 0
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
        """Queue new jobs, whose consumer waits at `inbox`; work starts. The caller has deferred signals."""
        with self.lock:
            # In one line, so that an interrupt finds all of it done or nothing.
            self._add(jobs); inbox.outstanding += len(jobs); self.num_submitted += len(jobs)  # noqa: E702  # fmt: skip
            if self.ledger.free > 0:
                self._fill()
        if self.ledger.troubles:
            self._say()

    def queue(self, jobs: list[Job[Any]], inbox: Inbox, alone: bool = False) -> None:
        """As `accept`, of jobs that count as submitted already; of which each is to run alone, if `alone`."""
        add = self.ledger.accept_last_chances if alone else self._add
        with defer_signals(), self.lock:
            add(jobs); inbox.outstanding += len(jobs)  # noqa: E702  # fmt: skip
            self._fill()
        if self.ledger.troubles:
            self._say()

    def accept_last_chances(self, jobs: list[Job[Any]], inbox: Inbox) -> None:
        """Queue jobs of which one may be what ended the evaluators before; each runs when nothing else does."""
        with defer_signals():
            with self.lock:
                self.num_submitted += len(jobs)
            self.queue(jobs, inbox, alone=True)

    def accept_ended(self, jobs: list[tuple[Job[Any], Outcome | None]], inbox: Inbox) -> None:
        """Give jobs to their consumer that need not run: with their outcomes, or with what they have already."""
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
        """Fill free slots with ready jobs; returns at once if another thread is at it."""
        with defer_signals(), self.lock:
            self._fill()
        if self.ledger.troubles:
            self._say()

    def pump_what_is_left(self) -> None:
        """Go on with jobs that an interrupt amidst the handing over of those before them left in the queue."""
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

    def _take_and_run(self) -> bool:
        """Under the lock, which is released meanwhile: hand over what the slots can hold; False if that is nothing."""
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
        except Exception as error:  # noqa: BLE001  ours, or the engine's: no caller of ours can do anything about it
            self.ledger.troubles.append(("Handing jobs to workers", error))
            text = f"{self._name} could not dispatch the job.\n{describe(error)}"
            self._give_up_handing(FailureKind.WORKER_DIED, text)
        return True

    def _give_up_handing(self, kind: FailureKind, text: str) -> None:
        """Under the lock: handing jobs over went wrong. Nobody knows for which; none may be lost."""
        for attempt in self.ledger.give_up_handing():
            self.ended(attempt.job, failed(kind, text))

    def is_closed(self) -> bool:
        """Has another thread closed this meanwhile?"""
        return self.closed

    def add_slots(self, change: int) -> None:
        """The engine has so many slots more, or fewer."""
        with self.lock:
            self.ledger.add_slots(change)
        if change > 0:
            self.pump()

    def _say(self) -> None:
        """Log what was raised under the lock, where no handler of the program's may run."""
        troubles = self.ledger.troubles
        while troubles:
            with contextlib.suppress(IndexError):  # another thread was faster
                what, error = troubles.popleft()
                logger.error("%s raised; the search goes on.", what, exc_info=error)

    # Attempts end.

    def report(self, reports: list[tuple[Attempt, Outcome]]) -> None:
        """Take the outcomes of attempts, from any thread, no lock held; refills their slots."""
        ended: list[Job[Any]] = []
        ledger, stops = self.ledger, self.stops
        has_stopper, limited = self._has_stopper, self.has_deadlines or stops.budget_end < math.inf
        with defer_signals(), self.lock:
            for attempt, outcome in reports:
                try:
                    if not ledger.end(attempt):
                        continue
                    job = attempt.job
                    if limited or job._stop is not None:
                        outcome = stops.decide(attempt, outcome)
                    if has_stopper:
                        outcome = told_by_stopper(job, outcome)
                    if outcome.kind is not None and self._tries_again(job, outcome):
                        continue
                    ended.append(job)
                    self.ended(job, outcome)
                except Exception as error:  # noqa: BLE001  a job that was torn here would be in no queue any more
                    self._end_torn(attempt, error)
            if self.closed or self.wakes_at_every_report:
                self.condition.notify_all()
            more = (ledger.fresh or ledger.urgent or ledger.later or ledger.last_chances) and not self.closed
            if more and self.record is None:  # in the same hold: another would cost as much as all this
                self._fill()
        if self.record is not None:  # what has ended is recorded before what starts now
            self.record_ended(ended)
            if more:
                self.pump()
        if ledger.troubles:
            self._say()

    def _tries_again(self, job: Job[Any], outcome: Outcome) -> bool:
        """Under the lock: make a failed job ready again, if its retries allow. In simulated time, its end says that."""
        return self._timeline is None and self.may_retry and self.ledger.retry(job, outcome)

    @property
    def may_retry(self) -> bool:
        """Under the lock: does any job start again?"""
        return not (self.closed or self.out_of_time or self.suspends)

    def _end_torn(self, attempt: Attempt, error: BaseException) -> None:
        """Under the lock: taking an outcome raised; the job ends all the same, and its slot is free."""
        ledger, job = self.ledger, attempt.job
        ledger.troubles.append((f"Taking the outcome of job {job.id}", error))
        ledger.end_torn(attempt)
        if job._outcome is None and job.number not in ledger.running and job not in ledger.scheduler:
            self.ended(job, failed(FailureKind.WORKER_DIED, f"Its outcome could not be taken.\n{describe(error)}"))

    def lost(self, has: Callable[[], set[int]], capacity: int, error: BaseException) -> None:
        """An engine went wrong somewhere: what runs by our books and is not among its jobs ends as a failure.

        Args:
            has: the numbers of the jobs that the engine has; called without the lock.
            capacity: its slots.
            error: what went wrong.
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

    def record_ended(self, jobs: list[Job[Any]]) -> None:
        """Jobs have `ended`: a durable storage hears of it. Not in simulated time, before they are delivered."""
        if jobs and self.record is not None and self._timeline is None:
            self.record(jobs)

    # Results.

    def deliver(self, job: Job[Any], outcome: Outcome) -> None:
        """Under the lock: this is the job's outcome; into the inbox with it."""
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
        if inbox is not None:  # as `put`, without a call: each job passes here
            inbox.done.append(job)
            if len(inbox.done) >= inbox.want:
                self.condition.notify_all()
            if inbox.watchers:
                _wake_watchers(inbox)

    def put(self, inbox: Inbox, job: Job[Any]) -> None:
        """Under the lock: a job for its consumer."""
        inbox.done.append(job)
        if len(inbox.done) >= inbox.want:
            self.condition.notify_all()
        if inbox.watchers:
            _wake_watchers(inbox)

    def end_ready(self, kind: FailureKind, reason: str) -> list[Job[Any]]:
        """Under the lock: end every job that waits; returns them."""
        ended = self.ledger.remove_all_ready()
        for job in ended:
            self.ended(job, failed(kind, reason))
        return ended

    def wake_waiting(self, inbox: Inbox) -> None:
        """Under the lock: what is outstanding changed by other means than a report."""
        if inbox.waiting or self.closed:
            self.condition.notify_all()
        _wake_watchers(inbox)

    # Who waits for them.

    def wait(self, inbox: Inbox, size: int, deadline: float | None) -> None:
        """Block without using CPU until `inbox` has `size` jobs, or all that are outstanding."""
        with defer_signals(), self.condition:
            inbox.enter(size)
            try:
                while len(inbox.done) < inbox.needed(size):
                    rest = None if deadline is None else deadline - monotonic()
                    if rest is not None and rest <= 0:
                        return
                    self.condition.wait(rest)
            finally:
                inbox.leave(size)

    async def wait_in_a_loop(self, inbox: Inbox, size: int, deadline: float | None, after: Callable[..., None]) -> None:
        """As `wait`, inside a running event loop, which goes on meanwhile.

        Args:
            after: calls a function after some seconds; the program's loop may have a clock that is frozen.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(event.set)

        def due() -> None:
            with self.lock:
                _wake_watchers(inbox)

        with self.lock:
            inbox.watchers.append(wake)
        if deadline is not None:
            after(deadline - monotonic(), due)
        try:
            while len(inbox.done) < inbox.needed(size):
                event.clear()
                if len(inbox.done) >= inbox.needed(size):
                    break
                await event.wait()
                if deadline is not None and monotonic() >= deadline:
                    return
        finally:
            with self.lock:
                if wake in inbox.watchers:
                    inbox.watchers.remove(wake)

    def take(self, inbox: Inbox) -> list[Job[Any]]:
        """Take from an inbox all that is done. Whoever is interrupted before the caller has them, `puts them back`."""
        with self.lock:
            jobs = inbox.take()
            self.num_gathered += len(jobs)
            if inbox.waiting or inbox.watchers or self.closed:
                self.wake_waiting(inbox)
        return jobs

    def put_back(self, inbox: Inbox, jobs: list[Job[Any]]) -> None:
        """Undo `take`: the next one has them."""
        with defer_signals(), self.lock:
            inbox.put_back(jobs)
            self.num_gathered -= len(jobs)

    def take_unfinished(self, unfinished: list[Job[Any]]) -> tuple[list[Job[Any]], list[Job[Any]]]:
        """At the end, take from the inbox those that `close` gives back, and leave the others to `gather`.

        Returns:
            All that was in the inbox; and those that were taken, in the order of their numbers. A gather that waited
            in another thread may have been faster: each job is given back once.
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
        """Wait until nothing runs, for so many seconds at the most."""
        deadline = monotonic() + seconds
        with self.lock:
            while self.ledger.running and (rest := deadline - monotonic()) > 0:
                self.condition.wait(rest)

    def end_running(self) -> None:
        """The engine has been stopped: what it did not report ends as it was asked to."""
        with self.lock:
            left = list(self.ledger.running.values())
            for attempt in left:
                self.ledger.end(attempt)
                self.ended(attempt.job, self.stops.stopped(attempt, None))
        self.record_ended([attempt.job for attempt in left])

    def jobs_of(self, inbox: Inbox) -> list[Job[Any]]:
        """The jobs of one consumer that have not ended. Costs the jobs that have not."""
        with self.lock:
            jobs = [attempt.job for attempt in self.ledger.running.values()] + self.ledger.ready()
        return [job for job in jobs if job._inbox is inbox]

    def held(self, jobs: list[Job[Any]]) -> list[Job[Any]]:
        """With these jobs, all that have not been taken: ready, running, or in an inbox. Costs as many."""
        with self.lock:
            held = [*jobs, *self.ledger.ready(), *(attempt.job for attempt in self.ledger.running.values())]
            inboxes = {id(job._inbox): job._inbox for job in held if job._inbox is not None}
            inboxes[id(self.inbox)] = self.inbox
            for inbox in inboxes.values():
                held += inbox.done
        return held

    def after_fork(self) -> None:
        """In a forked child: the jobs are the parent's, and its threads, which may have held the lock, are not here."""
        self.closed = True
        self.lock = threading.Lock()
        self.condition = Condition(self.lock)
        self.inbox = Inbox()
        self.ledger.forget()


def _none_left(jobs: list[Job[Any]] | None, reason: str) -> list[Job[Any]]:
    return []


def _wake_watchers(inbox: Inbox) -> None:
    for wake in list(inbox.watchers):
        try:
            wake()
        except RuntimeError:  # its event loop was closed: nobody waits there any more
            inbox.watchers.remove(wake)
