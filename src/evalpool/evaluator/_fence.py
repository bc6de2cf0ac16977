"""After a pause longer than its lease, an evaluator finds out which jobs are still its own before it records anything.

A program may pause: SIGSTOP, a suspended laptop, C code that holds the GIL, a server that could not be reached. Its
lease expires meanwhile, and another evaluator's `resume` claims its jobs. When it continues:

::

    outcome of a job, gather, submit ──► holds()?  one comparison with the end of the lease
                                           │ no
                                           ▼
                            renew the lease, read the storage ──► nothing claimed: nothing was lost
                                           │ claimed
                                           ▼
                 ready here: removed                   runs here: asked to stop
                                           └──────┬─────┘
                                                  ▼
                          awaited: its result is the claimant's, as recorded in the storage;
                          if the claimant ends without a result, the job is ours again

So `gather` returns each job that was submitted here once, with the result that the storage has. Only a lease that was
read from the storage counts, not one that was sent: to others, a program that could not reach the storage looks like
one that paused. While the storage cannot be read at all, `gather` returns results as they come.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._clock import awake_or_not, monotonic, unix_time
from evalpool._guard import Guard, start_guarded
from evalpool._interrupts import defer_signals, from_a_handler
from evalpool._log import get_logger
from evalpool.evaluator._foreign_jobs import job_of
from evalpool.evaluator._lease import Lease
from evalpool.evaluator._resume import given_up
from evalpool.outcomes import FINAL, FailureKind, JobStatus, failed
from evalpool.storage._leases import claim_lost
from evalpool.storage._records import job_record

if TYPE_CHECKING:
    from evalpool.evaluator._back_off import BackOff
    from evalpool.evaluator._core import Core
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.evaluator._recorder import Recorder
    from evalpool.jobs._inbox import Inbox
    from evalpool.jobs._job import Job
    from evalpool.storage._fold import SearchState

__all__ = ["Fence"]

logger = get_logger()

LOOK = 0.25
"""Seconds between two looks for claims by a caller that gathers. A lease may also end otherwise than by the clock."""
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
"""Seconds between two looks for the results of claimants: doubled from the first to the last."""
MAX_LOST = 3
"""As the default of `Evaluator.resume`."""


class Fence:
    """Tells which of an evaluator's jobs are still its own; its methods are safe from any thread.

    Args:
        search: the search of the jobs.
        core: the evaluator's.
        after: ``after(seconds, call)``, a timer.
        back_off: until when a storage that failed is not asked.
        may_await: whether `gather` may return a claimed job later, with the claimant's result.
        is_isolated: whether jobs run in separate processes, so that one that ends its process ends nothing else.

    Attributes:
        recorder: of outcomes; set by the evaluator.
        taken_up: numbers of jobs that `resume` made ours.
        claimed: jobs of ours that another evaluator has claimed, by number; gathered ones remain here.
        awaited: those of them that the claimant has not finished.
        was_needed: whether a job of ours was ever claimed; then `gather` may have to wait once more.
        seen: the claims that were read; it changes with each further claim.
    """

    recorder: Recorder

    def __init__(
        self,
        search: OpenSearch,
        core: Core,
        after: Callable[..., None],
        *,
        back_off: BackOff,
        may_await: bool,
        is_isolated: Callable[[], bool],
    ) -> None:
        self._search = search
        self._search_id, self._owner = search.search_id, search.owner
        self._core = core
        self._after = after
        self._back_off = back_off
        self._may_await = may_await
        self._is_isolated = is_isolated
        self.lease = Lease(search, self._sent)
        self._until = self._until_elapsed = self._look_at = math.inf  # there is no lease yet
        self._terms: dict[float, float] = {}  # the end of each lease that was sent: by the epoch's clock, by our own
        self._alert_until = -math.inf
        self.seen: tuple[SearchState | None, int] = (None, 0)
        self.taken_up: set[int] = set()
        self._left: set[int] = set()  # returned although their claimants had not finished
        self.claimed: dict[int, Job[Any]] = {}
        self.awaited: dict[int, Job[Any]] = {}
        self._held_back: list[Job[Any]] = []  # their outcomes are recorded as soon as they are known to be ours
        self.was_needed = False
        self._must_disown = False  # whether a claim was read, and its jobs were not given up yet
        self._changes = 0
        self._work = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._closed = False

    # The lease.

    def holds(self) -> bool:
        """Whether the lease lasts, by what was last read from the storage. If not, `check` comes before any record."""
        return awake_or_not() < self._until_elapsed and unix_time() < self._until

    def _sent(self, expires: float, ttl: float) -> None:
        """Note a renewal of the lease that was sent; it may arrive or not."""
        self._terms[expires] = awake_or_not() + ttl

    def take(self) -> None:
        """Make sure that we have a lease, before jobs are recorded. Raises `StorageError`."""
        taken = self.lease.take()
        if taken:
            self._after(self.lease.ttl / 3, self._renew)
        if taken or not self.holds():
            self.check()

    def _renew(self) -> None:
        if not self.lease.held or self._core.closed:
            return
        # Not in this thread, which has to keep deadlines: a request to a server that cannot be reached may block.
        if not self.holds():
            self.look_soon()
        self.recorder.append_soon([self.lease.renewal()])
        self._after(self.lease.ttl / 3, self._renew)

    def check(self) -> None:
        """Make sure of the lease, and look for claims. Raises `StorageError`."""
        self._read()
        if not self.holds():
            late = unix_time() - self._until
            self.lease.renew_now()
            # A client that has read the old lease may still claim by it; until it cannot, we look at every step.
            self._alert_until = awake_or_not() + self.lease.ttl
            logger.debug("The lease on the jobs of search %s had ended %.1f s ago.", self._search_id, late)
            self._read()

    def _read(self) -> None:
        """Read from the storage until when the lease lasts, and which jobs were claimed."""
        storage = self._search.storage
        with storage._fold_lock:
            search = storage._search(self._search_id)
            expires = search.leases.get(self._owner, 0.0)
            news = self.seen[0] is not search or self.seen[1] != search.claims
            if news:  # set before the lease: a thread that sees the new lease must see the claims before it, too
                self._must_disown = True  # and this before both: an interrupt may come before that is done
                self.seen = search, search.claims
            self._until = expires
            self._until_elapsed = self._terms.get(expires, math.inf if expires else -math.inf)
            for known in [known for known in self._terms if known < expires]:
                self._terms.pop(known, None)
            now = awake_or_not()
            self._look_at = -math.inf if now < self._alert_until else now + LOOK
        if self._must_disown:
            with defer_signals():  # jobs that are given up and not waited for would never be gathered
                self._disown()

    # Jobs that were claimed.

    def _is_anothers(self, search: SearchState, job: Job[Any]) -> bool:
        """Under the fold's lock: whether another evaluator has claimed this job of ours."""
        if job._evaluator is None:  # restored, or of another client from the beginning
            return False
        state = search.jobs.get(job.number)
        return state is not None and state.owner is not None and state.owner != self._owner

    def _disown(self) -> None:
        """After a claim: give up the jobs that wait or run here and now belong to another evaluator."""
        self._must_disown = False  # first: what another thread reads from now on, it disowns itself
        if not self._may_await:
            return
        core = self._core
        ledger = core.ledger
        with core.lock:
            jobs = {*ledger.ready(), *(attempt.job for attempt in ledger.running.values())}
        with self._search.storage._fold_lock:
            search = self._search.storage._state.searches.get(self._search_id)
            jobs = {job for job in jobs if search is not None and self._is_anothers(search, job)}
        if not jobs:
            return
        running = []
        waiting = 0
        with core.lock:
            for job in jobs:
                if job.number in self.claimed or job._status in FINAL:
                    continue
                self.claimed[job.number] = job
                attempt = ledger.running.get(job.number)
                if attempt is not None:
                    running.append(attempt)
                    continue
                waiting += 1
                ledger.remove_ready(job)
                self._await(job)
        for attempt in running:
            core.stops.stop(attempt, FailureKind.CANCELLED)
        if waiting or running:
            logger.warning(
                "This program was paused for longer than its lease on search %s, and other evaluators have claimed %d "
                "of its jobs. %d of them ran here and are stopped; the results of the others are used for all.",
                self._search_id, waiting + len(running), len(running),
            )  # fmt: skip
            self._start()

    def _await(self, job: Job[Any]) -> None:
        """Under the core's lock: drop the job's own outcome and wait for that of its claimant."""
        job._outcome = job._metadata = job._gathered = job._stop = None
        job._status = JobStatus.RUNNING
        self.claimed[job.number] = self.awaited[job.number] = job
        self.recorder.drop(job)

    def _adopt(self, job: Job[Any], result: Job[Any]) -> None:
        """Under the core's lock: take the claimant's result as the job's."""
        outcome = result._outcome
        assert outcome is not None
        origin = self._search.origin
        job._outcome = outcome._replace(
            start=None if outcome.start is None else outcome.start + origin,
            end=None if outcome.end is None else outcome.end + origin,
        )
        job._status = outcome.status
        job._errors, job._metadata, job._extra, job._stop = result._errors, None, None, None
        job.attempts = result.attempts
        self.claimed[job.number] = job
        self.awaited.pop(job.number, None)
        self.recorder.drop(job)

    def _leave(self, job: Job[Any], reason: str) -> None:
        """Under the core's lock: end the job here without the claimant's result."""
        job._outcome = failed(FailureKind.SUSPENDED, f"left to the evaluator that claimed it: {reason}")
        job._status = job._outcome.status
        job._metadata = None
        self.claimed[job.number] = job
        self.awaited.pop(job.number, None)
        self._left.add(job.number)
        self.recorder.drop(job)

    def leave(self, jobs: list[Job[Any]] | None, reason: str) -> list[Job[Any]]:
        """Under the core's lock: deliver the awaited ones of `jobs` as CANCELLED; all awaited jobs, for None."""
        awaited = self.awaited
        left = list(awaited.values()) if jobs is None else [job for job in jobs if awaited.get(job.number) is job]
        for job in left:
            self._leave(job, reason)
            if job._inbox is not None:
                self._core.put(job._inbox, job)
        self._changes += 1
        return left

    # What gather returns.

    def keep_ours(self, jobs: list[Job[Any]]) -> None:
        """Keep in `jobs`, in place, what `gather` may return: ours, and claimed ones with their claimants' results.

        Called in the caller's thread before jobs are recorded, and once more if the lease ended meanwhile.
        """
        if not jobs:
            return
        if (awake_or_not() >= self._look_at or not self.holds()) and not self._back_off.backing_off():
            began = monotonic()
            try:
                self.check()
            except Exception as error:  # a storage that is not ours may raise any
                if from_a_handler(error):
                    raise
                self._back_off.back_off(began)
                logger.debug("It cannot be read for now whether jobs were claimed: %s", error)
        search = self.seen[0]
        if search is None or not search.claims:
            return
        results = self._anothers(jobs)
        if not results:
            return
        self.was_needed = True
        with defer_signals():  # as in `_read`
            with self._core.lock:
                for job, result in results:
                    if result is not None:
                        self._adopt(job, result)
                    elif job.number in self._left:
                        continue
                    elif self._core.closed or self._core.out_of_time or not self._may_await:
                        self._leave(job, "this evaluator has ended")
                    else:
                        jobs.remove(job)
                        assert job._inbox is not None
                        job._inbox.outstanding += 1
                        self._core.num_gathered -= 1
                        self._await(job)
            if self.awaited:
                self._start()

    def _anothers(self, jobs: list[Job[Any]]) -> list[tuple[Job[Any], Job[Any] | None]]:
        """Return the claimed ones of `jobs`, each with its result, or None if there is none yet."""
        found = []
        with self._search.storage._fold_lock:
            search = self._search.storage._state.searches.get(self._search_id)
            for job in jobs:
                if search is not None and self._is_anothers(search, job):
                    state = search.jobs[job.number]
                    found.append((job, job_record(self._search_id, state) if state.is_final else None))
        return [(job, None if record is None else job_of(record, self._search)) for job, record in found]

    def is_ours(self, record: Any) -> bool:
        """Whether our own `gather` returns this job, which another client finished; then it is not a foreign job."""
        if record.number in self.taken_up:
            return True
        storage = self._search.storage
        with storage._fold_lock:
            search = storage._state.searches.get(self._search_id)
            state = None if search is None else search.jobs.get(record.number)
            return state is not None and (state.created or {}).get("owner") == self._owner

    def take_up(self, jobs: list[Job[Any]]) -> None:
        """Note that `resume` has made these jobs ours."""
        self.taken_up.update(job.number for job in jobs)

    def keep_start(self) -> None:
        """Wait until the start of a job that was lost before is recorded; in the thread that is about to run it.

        Otherwise a job that ends its program at once would end every program that resumes it, and its starts would
        never be counted. There is no such wait for a job that was not lost before, so its first loss may not be
        counted.
        """
        if not self._is_isolated():
            try:
                self._search.storage.flush()
            except Exception as error:  # as in `keep_ours`; the records are kept, and the storage reports its error
                if from_a_handler(error):
                    raise
                logger.debug("The start of a job that was lost before is not recorded yet: %s", error)

    def wait(self, inbox: Inbox, deadline: float | None) -> None:
        """Wait until a job is done, or an awaited one is ours again. For engines that work in the caller's thread."""
        core = self._core
        with defer_signals(), core.condition:
            changes = self._changes
            inbox.enter(1)
            try:
                while self.awaited and self._changes == changes and not inbox.done and not core.closed:
                    rest = None if deadline is None else deadline - monotonic()
                    if rest is not None and rest <= 0:
                        return
                    core.condition.wait(rest)
            finally:
                inbox.leave(1)

    # The thread that looks for claims while the program does other things; it runs as long as there is a reason.

    def hold_back(self, jobs: list[Job[Any]]) -> None:
        """Keep the outcomes of jobs that may be ours or not; they are recorded when it is known that they are ours."""
        with defer_signals(), self._work:
            self._held_back.extend(jobs)
        self._start()

    def look_soon(self) -> None:
        """Look for claimed jobs, in the separate thread."""
        self._start()

    def _start(self) -> None:
        with defer_signals(), self._work:
            if self._closed:
                return
            if self._thread is None:
                guard = Guard("The thread that looks for claimed jobs")
                name = f"evalpool-claims-{self._owner[:6]}"
                self._pause = FIRST_PAUSE
                self._thread = start_guarded(name, guard, self._turn)
            else:
                self._work.notify()

    def _turn(self) -> bool:
        try:
            if not self.holds() or self.awaited:
                self.check()
            self._record()
            self._look_for_results()
        except Exception as error:  # noqa: BLE001  as in `keep_ours`
            logger.debug("It cannot be read for now whether jobs were claimed: %s", error)
        with self._work:
            if self._closed or not (self.awaited or self._held_back or not self.holds()):
                self._thread = None
                return False
            self._work.wait(self._pause)
            self._pause = min(2 * self._pause, LAST_PAUSE)
        return True

    def _record(self) -> None:
        with self._work:
            jobs, self._held_back = self._held_back, []
        if jobs:
            claimed = {job for job, _ in self._anothers(jobs)}
            self.recorder.outcomes_of_ours([job for job in jobs if job not in claimed])

    def _look_for_results(self) -> None:
        """Deliver the jobs that claimants have finished; claim those back whose claimants have ended."""
        awaited = list(self.awaited.values())
        if not awaited:
            return
        results = self._anothers(awaited)
        with self._core.lock:
            for job, result in results:
                if result is not None and self.awaited.get(job.number) is job:
                    self._adopt(job, result)
                    self._changes += 1
                    if job._inbox is not None:
                        self._core.put(job._inbox, job)
        if self.awaited:
            self._take_back()

    def _take_back(self) -> None:
        """Claim back the jobs whose claimants have ended."""
        core = self._core
        again: list[Job[Any]] = []
        lost_too_often: list[Job[Any]] = []
        numbers = set(self.awaited)
        for record in claim_lost(self._search.storage, self._search_id, self._owner, numbers):
            with core.lock:
                job = self.awaited.pop(record.number, None)
                self.claimed.pop(record.number, None)
                if job is None:
                    continue
                self._changes += 1
                job._status = JobStatus.READY
                job.attempts, job._errors, job._extra = record.attempts, list(record.attempt_errors) or None, None
                if record.lost >= MAX_LOST and not self._is_isolated():
                    core.deliver(job, given_up(record))
                    lost_too_often.append(job)
                else:
                    core.ledger.accept([job])
                    again.append(job)
        if lost_too_often:
            self.recorder.outcomes_of_ours(lost_too_often)
        if again:
            core.pump()
            with core.lock:
                core.condition.notify_all()

    def close(self) -> None:
        """End the thread, record the outcomes that were held back, and give up the lease. Raises `StorageError`."""
        with self._work:
            self._closed = True
            thread = self._thread
            self._work.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._record()
        self.lease.give_up()
