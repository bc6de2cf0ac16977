"""The jobs that other clients of the same search finished, each once; and how a job is made from its record.

::

    gather, gather_other_jobs_done ──► look ──► Follower ──► records ──► jobs ──┬──► on_done_other
                                                                                ├──► take_news(): on_gather
                                                                                └──► take(): gather_other_jobs_done
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool._interrupts import defer_signals, from_a_handler
from evalpool._log import get_logger
from evalpool.jobs._job import Job, PastJob
from evalpool.jobs._options import NO_OPTIONS
from evalpool.outcomes import Outcome, Worker
from evalpool.storage._base import Sharing

if TYPE_CHECKING:
    from evalpool.evaluator._back_off import BackOff
    from evalpool.evaluator._hook_queue import HookQueue
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.models import JobRecord
    from evalpool.storage import Follower

__all__ = ["ForeignJobs", "job_of"]

logger = get_logger()

INTERVAL = 0.05
"""Seconds between two looks at a storage that other processes write; each look is a round trip."""

TIMES = ("timestamp_submit", "timestamp_start", "timestamp_end", "timestamp_gather")


class ForeignJobs:
    """Follows the jobs that other clients finish. In the caller's thread.

    Args:
        search: the search that is followed.
        hooks: ``on_done_other`` becomes due for each job.
        back_off: until when a storage that failed is not asked.
        is_ours: whether our own `gather` returns the job of a record; then it is ignored here.

    Attributes:
        is_due: called before each look, if set; False suppresses the look.
    """

    def __init__(
        self, search: OpenSearch, hooks: HookQueue, back_off: BackOff, is_ours: Callable[[JobRecord], bool]
    ) -> None:
        self._search = search
        self._hooks = hooks
        self._back_off = back_off
        self._is_ours = is_ours
        self.is_due: Callable[[], bool] | None = None
        self._interval = INTERVAL if search.storage.shared > Sharing.THREADS else 0.0
        self._looked = -math.inf
        self._follower: Follower | None = None
        self._follow_failed = False  # whether the last look failed
        self._found: deque[Job[Any]] = deque()  # found and not taken yet
        self._news: list[Job[Any]] = []  # found, and `on_gather` has not become due for them

    def look(self, at_once: bool = False) -> None:
        """Find the jobs that others finished since the last look: `on_done_other` becomes due for each; `take_news` and
        `take` return them.

        Args:
            at_once: look also shortly after the last look, or after a failure of the storage; raise its errors.
        """
        if not self._search.others_write or not (self.is_due is None or self.is_due()):
            return
        now = monotonic()
        if not at_once and (now - self._looked < self._interval or self._back_off.backing_off()):
            return
        self._looked = now
        try:
            follower = self.follower()
            jobs = [job_of(record, self._search) for record in follower.look() if not self._is_ours(record)]
        except Exception as error:  # a storage that is not ours may raise any
            if from_a_handler(error):
                raise
            self._back_off.back_off(now)
            if at_once:
                raise
            if not self._follow_failed:
                logger.warning("The jobs that other clients finished cannot be read for now: %s", error)
            self._follow_failed = True
            return
        self._follow_failed = False
        with defer_signals():  # an interrupt before this leaves them to the next look
            follower.take()
            self._found.extend(jobs)
            self._news.extend(jobs)
            self._hooks.add_each("on_done_other", jobs)

    def take_news(self) -> list[Job[Any]]:
        """Return the jobs that were found since the last `take_news`; the caller has deferred signals, and makes their
        `on_gather` due.
        """
        news, self._news = self._news, []
        return news

    def follower(self) -> Follower:
        """Return the follower, which gives each record once, from the first on. Raises `StorageError`."""
        if self._follower is None:
            search = self._search
            self._follower = search.storage.follow(search.search_id, not_owner=search.owner)
        return self._follower

    def take(self) -> list[Job[Any]]:
        """Return the jobs that were found since the last `take`, each once."""
        found = self._found
        jobs: list[Job[Any]] = []
        try:
            while found:
                jobs.append(found[0])
                found.popleft()
            return jobs
        except BaseException:  # interrupted: the next call returns them
            found.extendleft(job for job in reversed(jobs) if not (found and found[0] is job))
            raise

    def forget(self) -> None:
        """In a forked child: drop what was found; it is the parent's."""
        self._found.clear()
        self._news.clear()


def job_of(record: JobRecord, search: OpenSearch) -> Job[Any]:
    """Make a job from its record: a job of another client, or of an earlier run."""
    job = PastJob(
        None, None, record.search_id, record.number, record.configuration, search.job_type,
        record.timestamp_submit or 0.0,
    )  # fmt: skip
    job._base_seed = search.seed
    output = record.output
    worker = None if record.worker is None else Worker(record.worker, record.host or "", record.pid or 0)
    task = search.job_type == "task"
    job._outcome = Outcome(
        record.status,
        output if task and record.kind is None else record.objective,
        output if not task and isinstance(output, dict) else None,
        record.metadata,
        record.error,
        record.kind,
        record.timestamp_start,
        record.timestamp_end,
        worker,
        record.stopped_early if "stopped_early" in record.model_fields_set else None,
    )
    job._status = record.status
    job._gathered = record.timestamp_gather
    job.attempts = record.attempts
    job._errors = record.attempt_errors or None
    if record.options is not NO_OPTIONS:
        job.options = record.options
    job._history = {**record.metadata, **{name: getattr(record, name) for name in TIMES}}
    return job
