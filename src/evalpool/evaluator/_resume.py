"""A search that outlives its process: the lease on its jobs, and taking up what a dead owner left.

A lease says "the owner of these jobs lives until ...". It is renewed well before it expires, by the thread
that keeps deadlines; so the jobs of an owner that is gone are run again soon, and those of one that lives
never are, also when its search thinks for an hour. On the same host the owner's process is looked at, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool._clock import unix_time
from evalpool.evaluator._foreign_jobs import job_of
from evalpool.evaluator._submission import take_options
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, JobStatus, Outcome, failed
from evalpool.storage._events import Event

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.models import JobRecord

__all__ = ["TTL", "Lease", "given_up", "resume"]

TTL = 30.0
"""Seconds for which a lease is given; renewed every third of it, so that two renewals may fail."""


class Lease:
    """Keeps an evaluator's lease on its jobs while it is open."""

    def __init__(self, evaluator: Evaluator, sent: Callable[[float, float], None]) -> None:
        self._evaluator = evaluator
        self._sent = sent  # told each renewal: its end, seconds since the epoch, and for how many seconds it is
        self._held = False

    @property
    def ttl(self) -> float:
        """Seconds for which it is given."""
        return TTL

    def take(self) -> bool:
        """Take the lease and see to its renewal; False if it is held already. Raises `StorageError`."""
        if self._held:
            return False
        if not self._evaluator._search.begun:
            self._evaluator._storage._go_on_with(self._evaluator._search_id)
        self.renew_now()
        self._held = True
        self._evaluator._watchdog.after(TTL / 3, self._renew)
        return True

    def renew_now(self) -> None:
        """Renew it, and return when the storage has that. Raises `StorageError`."""
        self._evaluator._storage.append([self._renewal()])

    def _renewal(self) -> Event:
        evaluator, expires = self._evaluator, unix_time() + TTL
        self._sent(expires, TTL)
        return Event("lease", evaluator._search_id, None, {"owner": evaluator._owner, "expires": expires})

    def _renew(self) -> None:
        evaluator = self._evaluator
        if not self._held or evaluator._core.closed:
            return
        # Soon, not now: this thread has deadlines to keep, and a server that is away may be waited for.
        if not evaluator._fence.holds():
            evaluator._fence.look_soon()
        evaluator._append_soon([self._renewal()])
        evaluator._watchdog.after(TTL / 3, self._renew)

    def give_up(self) -> None:
        """At close: whoever resumes need not wait for the lease to expire."""
        if self._held:
            self._held = False
            evaluator = self._evaluator
            evaluator._storage.lease(evaluator._search_id, evaluator._owner, 0.0)


class Resumed(NamedTuple):
    """What a search has left.

    Attributes:
        restored: had finished.
        again: to be run again.
        last_chances: to be run again, each alone: with one more loss it is given up.
        given_up: with their outcomes.
    """

    restored: list[Job[Any]]
    again: list[Job[Any]]
    last_chances: list[Job[Any]]
    given_up: list[tuple[Job[Any], Outcome]]


def resume(evaluator: Evaluator, max_lost: int | None) -> Resumed:
    """Claim what was lost, and see what had finished. Costs the jobs of the search.

    Of the jobs that ran when their evaluator ended, one may have ended it, and the others were beside it by chance. So
    the last run before a job is given up is one in which nothing else runs, and only the culprit is lost again.
    """
    storage, search = evaluator._storage, evaluator._search_id
    storage.flush()
    lost = storage.claim_lost(search, evaluator._owner)
    found = Resumed([], [], [], [])
    # The follower gives each job once: what is restored here is no news of other clients, however often one resumes
    # and whatever they finish meanwhile.
    for record in evaluator._foreign_jobs.follower().poll():
        if record.status in (JobStatus.DONE, JobStatus.FAILED):
            job = job_of(record, evaluator._search)
            job._history = {**(job._history or {}), "restored": True}
            job._gathered = None  # this evaluator has not given it back yet
            found.restored.append(job)
    found.restored.sort(key=lambda job: (job.metadata.get("timestamp_end") or 0.0, job.number))
    for record in lost:
        job = _lost_job(evaluator, record)
        if max_lost is not None and record.lost >= max_lost:
            found.given_up.append((job, given_up(record)))
        elif max_lost is not None and record.lost and record.lost == max_lost - 1:
            found.last_chances.append(job)
        else:
            found.again.append(job)
    evaluator._fence.take_up([*found.again, *found.last_chances, *(job for job, _ in found.given_up)])
    return found


def _lost_job(evaluator: Evaluator, record: JobRecord) -> Job[Any]:
    job: Job[Any] = Job(
        evaluator,
        evaluator._inbox,
        record.search_id,
        record.number,
        record.configuration,
        evaluator._job_type,
        record.timestamp_submit or 0.0,
    )
    job.attempts = record.attempts
    job._errors = list(record.attempt_errors) or None
    take_options(evaluator, job, record.options)
    return job


def given_up(record: JobRecord) -> Outcome:
    """What a job ends as that was lost too often."""
    times = "once" if record.lost == 1 else f"{record.lost} times"
    return failed(
        FailureKind.WORKER_DIED,
        f"given up: it ran {times} when its evaluator's program ended without a word, and may be what ended it "
        f"({'; '.join(record.attempt_errors)}). Run it where a job cannot end the program, such as "
        'method="process", or with resume(max_lost=None).',
    )
