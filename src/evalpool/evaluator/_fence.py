"""An owner that was held up for longer than its lease finds out whose its jobs are, before it says anything of them.

A program may stand still: SIGSTOP, a suspended laptop, C code that holds the GIL, a server that was away. Its lease
expires meanwhile, and whoever calls `resume` claims its jobs. When it goes on:

::

    outcome of a job, gather, submit ──► holds()?  one comparison with the end of the lease
                                           │ no
                                           ▼
                            renew the lease, read the storage     nobody claimed: nothing was lost
                                           │ claimed
                                           ▼
                 waits here: left to the claimant      runs here: asked to stop
                                           └──────┬─────┘
                                                  ▼
                          awaited: its result is the claimant's, as the storage holds it;
                          when the claimant is gone, too, the job is ours again

So each job that was submitted here is given back by `gather` once, and with what the storage holds. Only the lease that
was read from the storage counts, not the one that was sent: a storage that was out of reach looks like a program that
stood still. While a storage cannot be asked at all, results are given back as they come.
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
"""Seconds between two looks for claims by a caller that gathers: not only the clock may have ended a lease."""
FIRST_REST, LAST_REST = 0.05, 1.0
"""Seconds between two looks for the results of claimants: doubled from the first to the last."""
MAX_LOST = 3
"""As the default of `Evaluator.resume`."""


class Fence:
    """Between an evaluator and its storage; its methods are safe from any thread.

    Args:
        search: whose jobs.
        core: where they are.
        after: ``after(seconds, call)``: calls it then.
        back_off: how long the storage is left alone after it failed.
        may_await: may a job that was claimed be given back later than it was asked for, with the claimant's result?
        is_isolated: does each job run in a process of its own, so that one that ends it ends nothing else?

    Attributes:
        recorder: of outcomes; set by the evaluator.
        taken_up: numbers of jobs that `resume` made ours.
        claimed: jobs of ours that are another's by what the storage says, by number; those that were given back, too.
        awaited: those of them whose claimant has not finished.
        was_needed: was a job of ours ever claimed? Then gather may have to wait once more.
        seen: the claims that were read; another object after each further claim.
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
        self._terms: dict[float, float] = {}  # of leases that were sent: when they end by either clock
        self._alert_until = -math.inf
        self.seen: tuple[SearchState | None, int] = (None, 0)
        self.taken_up: set[int] = set()
        self._left: set[int] = set()  # given back although their claimants had not finished
        self.claimed: dict[int, Job[Any]] = {}
        self.awaited: dict[int, Job[Any]] = {}
        self._held_back: list[Job[Any]] = []  # their outcomes are to be recorded if they are still ours
        self.was_needed = False
        self._changes = 0
        self._work = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._closed = False

    # The lease.

    def holds(self) -> bool:
        """Does the lease last, as far as the storage has said? Else nothing is recorded before `check`."""
        return awake_or_not() < self._until_elapsed and unix_time() < self._until

    def _sent(self, expires: float, ttl: float) -> None:
        """A renewal of the lease was sent, which may arrive or not."""
        self._terms[expires] = awake_or_not() + ttl

    def take(self) -> None:
        """Hold a lease that lasts, before jobs are recorded. Raises `StorageError`."""
        taken = self.lease.take()
        if taken:
            self._after(self.lease.ttl / 3, self._renew)
        if taken or not self.holds():
            self.check()

    def _renew(self) -> None:
        if not self.lease.held or self._core.closed:
            return
        # Soon, not now: this thread has deadlines to keep, and a server that is away may be waited for.
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
            # Who read the old lease before may claim by it a little later; until then each step is looked at.
            self._alert_until = awake_or_not() + self.lease.ttl
            logger.debug("The lease on the jobs of search %s had ended %.1f s ago.", self._search_id, late)
            self._read()

    def _read(self) -> None:
        """Look into the storage: until when the lease lasts, and which jobs were claimed."""
        storage = self._search.storage
        with storage._fold_lock:
            search = storage._search(self._search_id)
            expires = search.leases.get(self._owner, 0.0)
            news = self.seen[0] is not search or self.seen[1] != search.claims
            if news:  # before the lease: who sees that it lasts shall also see what was claimed while it did not
                self.seen = search, search.claims
            self._until = expires
            self._until_elapsed = self._terms.get(expires, math.inf if expires else -math.inf)
            for known in [known for known in self._terms if known < expires]:
                self._terms.pop(known, None)
            now = awake_or_not()
            self._look_at = -math.inf if now < self._alert_until else now + LOOK
        if news:
            self._disown()

    # Jobs that were claimed.

    def _is_anothers(self, search: SearchState, job: Job[Any]) -> bool:
        """Under the fold's lock: was this job of ours claimed from us?"""
        if job._evaluator is None:  # restored, or of another client from the beginning
            return False
        state = search.jobs.get(job.number)
        return state is not None and state.owner is not None and state.owner != self._owner

    def _disown(self) -> None:
        """Somebody has claimed something: give up the jobs that wait or run here and are now theirs."""
        if not self._may_await:
            return
        core = self._core
        ledger = core.ledger
        with core.lock:
            jobs = {*ledger.ready(), *(attempt.job for attempt in ledger.running.values())}
        with self._search.storage._fold_lock:
            search = self._search.storage._search(self._search_id)
            jobs = {job for job in jobs if self._is_anothers(search, job)}
        if not jobs:
            return
        running = []
        waiting = 0
        with defer_signals(), core.lock:
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
                "This program was held up for longer than its lease on search %s, and others have claimed %d of its "
                "jobs: %d that ran here are stopped; the results of all are those of the others.",
                self._search_id, waiting + len(running), len(running),
            )  # fmt: skip
            self._start()

    def _await(self, job: Job[Any]) -> None:
        """Under the core's lock: whatever the job gave here does not count; its claimant's result will."""
        job._outcome = job._metadata = job._gathered = job._stop = None
        job._status = JobStatus.RUNNING
        self.claimed[job.number] = self.awaited[job.number] = job
        self.recorder.drop(job)

    def _adopt(self, job: Job[Any], result: Job[Any]) -> None:
        """Under the core's lock: the claimant's result is the job's."""
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
        """Under the core's lock: nobody waits for the claimant's result any more."""
        job._outcome = failed(FailureKind.SUSPENDED, f"left to the evaluator that claimed it: {reason}")
        job._status = job._outcome.status
        job._metadata = None
        self.claimed[job.number] = job
        self.awaited.pop(job.number, None)
        self._left.add(job.number)
        self.recorder.drop(job)

    def leave(self, jobs: list[Job[Any]] | None, reason: str) -> list[Job[Any]]:
        """Under the core's lock: give back those of `jobs` (None: of all) that are awaited, CANCELLED."""
        awaited = self.awaited
        left = list(awaited.values()) if jobs is None else [job for job in jobs if awaited.get(job.number) is job]
        for job in left:
            self._leave(job, reason)
            if job._inbox is not None:
                self._core.put(job._inbox, job)
        self._changes += 1
        return left

    # What gather gives back.

    def sift(self, jobs: list[Job[Any]]) -> None:
        """Leave in `jobs`, in place, what may be given back: ours, and claimed ones with their claimants' results.

        In the caller's thread, before they are recorded, and after that where the lease ended meanwhile.
        """
        if not jobs:
            return
        if (awake_or_not() >= self._look_at or not self.holds()) and not self._back_off.backing_off():
            began = monotonic()
            try:
                self.check()
            except Exception as error:  # of a client of somebody else's it may be any
                if from_a_handler(error):
                    raise
                self._back_off.back_off(began)
                logger.debug("Whether jobs were claimed cannot be seen for now: %s", error)
        search = self.seen[0]
        if search is None or not search.claims:
            return
        results = self._anothers(jobs)
        if not results:
            return
        self.was_needed = True
        with defer_signals(), self._core.lock:
            for job, result in results:
                if result is not None:
                    self._adopt(job, result)
                elif job.number in self._left:
                    continue
                elif self._core.closed or self._core.out_of_time or not self._may_await:
                    self._leave(job, "this one has ended")
                else:
                    jobs.remove(job)
                    assert job._inbox is not None
                    job._inbox.outstanding += 1
                    self._core.num_gathered -= 1
                    self._await(job)
        if self.awaited:
            self._start()

    def _anothers(self, jobs: list[Job[Any]]) -> list[tuple[Job[Any], Job[Any] | None]]:
        """Those of `jobs` that were claimed, each with what became of it, None if that is not known yet."""
        found = []
        with self._search.storage._fold_lock:
            search = self._search.storage._state.searches.get(self._search_id)
            for job in jobs:
                if search is not None and self._is_anothers(search, job):
                    state = search.jobs[job.number]
                    found.append((job, job_record(self._search_id, state) if state.is_final else None))
        return [(job, None if record is None else job_of(record, self._search)) for job, record in found]

    def is_ours(self, record: Any) -> bool:
        """Is this job, which another finished, given back by our own gather? Then it is no news of others."""
        if record.number in self.taken_up:
            return True
        storage = self._search.storage
        with storage._fold_lock:
            search = storage._state.searches.get(self._search_id)
            state = None if search is None else search.jobs.get(record.number)
            return state is not None and (state.created or {}).get("owner") == self._owner

    def take_up(self, jobs: list[Job[Any]]) -> None:
        """`resume` has made these ours."""
        self.taken_up.update(job.number for job in jobs)

    def keep_start(self) -> None:
        """Wait until the start of a job that was lost before is recorded; in the thread that is about to run it.

        Else a job that ends its program at once ends each resumed one, and no start of it is ever known to have been
        lost. Of jobs that were not lost before nobody waits for the start: one such end of a program is not counted.
        """
        if not self._is_isolated():
            try:
                self._search.storage.flush()
            except Exception as error:  # as in `sift`; the records are kept, and the storage tells what prevents them
                if from_a_handler(error):
                    raise
                logger.debug("The start of a job that was lost before is not recorded yet: %s", error)

    def wait(self, inbox: Inbox, deadline: float | None) -> None:
        """Wait until a job is done, or an awaited one is ours again, for those whose thread does the work itself."""
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

    # The thread that looks while the program has other things to do; it lives while there is something to see.

    def hold_back(self, jobs: list[Job[Any]]) -> None:
        """Outcomes of jobs of which it is not known whether they are ours; recorded as soon as it is."""
        with defer_signals(), self._work:
            self._held_back.extend(jobs)
        self._start()

    def look_soon(self) -> None:
        """Look whether jobs were claimed, in a thread of its own."""
        self._start()

    def _start(self) -> None:
        with defer_signals(), self._work:
            if self._closed:
                return
            if self._thread is None:
                guard = Guard("The thread that looks for claimed jobs")
                name = f"evalpool-claims-{self._owner[:6]}"
                self._rest = FIRST_REST
                self._thread = start_guarded(name, guard, self._turn)
            else:
                self._work.notify()

    def _turn(self) -> bool:
        try:
            if not self.holds() or self.awaited:
                self.check()
            self._record()
            self._look_for_results()
        except Exception as error:  # noqa: BLE001  as in `sift`
            logger.debug("Whether jobs were claimed cannot be seen for now: %s", error)
        with self._work:
            if self._closed or not (self.awaited or self._held_back or not self.holds()):
                self._thread = None
                return False
            self._work.wait(self._rest)
            self._rest = min(2 * self._rest, LAST_REST)
        return True

    def _record(self) -> None:
        with self._work:
            jobs, self._held_back = self._held_back, []
        if jobs:
            claimed = {job for job, _ in self._anothers(jobs)}
            self.recorder.outcomes_of_ours([job for job in jobs if job not in claimed])

    def _look_for_results(self) -> None:
        """Give back what claimants have finished; take back what claimants have lost."""
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
        """Claim what was claimed from us, where the claimant is gone."""
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
        """End the thread, hand over what it held back, and give up the lease. Raises `StorageError`."""
        with self._work:
            self._closed = True
            thread = self._thread
            self._work.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._record()
        self.lease.give_up()
