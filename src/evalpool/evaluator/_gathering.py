"""What happens when the caller takes jobs: they are recorded, and callbacks hear of them, each once.

::

    finished jobs ──► notices from their runs ──► the fence: are they ours?
                  ──► recorded as gathered ──► on_done for each ──► jobs that others finished ──► on_gather

An interrupt may come at any of these steps, but not between the record of jobs and their hooks. Until jobs are
recorded they count as not gathered, and the next `gather` returns them. After that, hooks that were not called yet stay
due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool._interrupts import allow_signals
from evalpool.errors import JobError
from evalpool.outcomes import FailureKind, JobStatus

if TYPE_CHECKING:
    from evalpool.evaluator._core import Core
    from evalpool.evaluator._fence import Fence
    from evalpool.evaluator._first_failures import FirstFailures
    from evalpool.evaluator._foreign_jobs import ForeignJobs
    from evalpool.evaluator._hook_queue import HookQueue
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.evaluator._recorder import Recorder
    from evalpool.evaluator._timeline import Times
    from evalpool.jobs._job import Job

__all__ = ["Gathering", "raise_first_failure"]


class Gathering:
    """Records the gathered jobs and calls the hooks for them; in the caller's thread, without a lock."""

    def __init__(
        self,
        search: OpenSearch,
        core: Core,
        times: Times,
        *,
        recorder: Recorder,
        fence: Fence,
        hooks: HookQueue,
        foreign_jobs: ForeignJobs,
        first_failures: FirstFailures,
    ) -> None:
        self._all_are_own = search.begun  # else some are restored, and may be recorded already
        self._core = core
        self._now = times.now
        self._recorder = recorder
        self._fence = fence
        self._fenced = search.storage.durable
        self._hooks = hooks
        self._others_write = search.others_write
        self._foreign_jobs = foreign_jobs
        self._look_for_failures = first_failures.look

    def tell_notices(self) -> None:
        """Tell callbacks and storage what running jobs did."""
        try:
            self._hooks.deliver_notices()
        finally:
            if self._recorder.noted:
                self._recorder.write_noted()

    def conclude(self, jobs: list[Job[Any]]) -> None:
        """Record the jobs that `gather` returns and call their hooks; then those for other clients' jobs.

        Jobs that another evaluator has claimed and not finished are removed from `jobs`. The caller has deferred
        signals: they strike where a storage or a callback may take its time, and never between a record and its hooks.
        """
        hooks, fence = self._hooks, self._fence
        if hooks.notices or self._recorder.noted:  # intermediate results of these jobs come before their ends
            with allow_signals():
                self.tell_notices()
        if self._fenced:
            with allow_signals():
                fence.keep_ours(jobs)
        claims = fence.seen
        fresh = [job for job in jobs if job._gathered is None]
        if self._fenced and (self._core.suspends or fence.was_needed):
            with allow_signals():
                fresh = self._without_suspended(fresh)
        if fresh:
            self._look_for_failures(fresh)
            fresh = self._record(fresh, jobs, claims)
            if hooks.on_done:
                hooks.add_each("on_done", fresh)
        if self._others_write:
            self._add_gather_with_others(fresh)
        elif fresh and hooks.on_gather:
            hooks.add("on_gather", fresh, [])
        if hooks.due:
            hooks.deliver()

    def _add_gather_with_others(self, fresh: list[Job[Any]]) -> None:
        """Look what other clients have finished, and make the hook due for these jobs and the `fresh` ones."""
        try:
            with allow_signals():
                self._foreign_jobs.look()
        finally:  # also if that was interrupted: callbacks hear of the gathered jobs nevertheless
            others = self._foreign_jobs.take_news()
            if fresh or others:
                self._hooks.add("on_gather", fresh, others)

    def _record(self, fresh: list[Job[Any]], jobs: list[Job[Any]], claims: Any) -> list[Job[Any]]:
        """Record that the `fresh` ones of `jobs` are gathered; return those that are ours still."""
        now = self._now()
        for job in fresh:
            job._gathered = now
        own = fresh if self._all_are_own else [job for job in fresh if self._lacks_gather(job)]
        if self._recorder.is_quick:
            self._recorder.gathered(own)
        elif self._recorder.keeps and own:
            try:
                with allow_signals():
                    self._recorder.gathered(own)
                    if self._fenced and (claims is not self._fence.seen or not self._fence.holds()):
                        # The program stood still during this: jobs that others have claimed are theirs.
                        self._fence.keep_ours(jobs)
                        return [job for job in fresh if job._gathered is not None]
            except BaseException:  # interrupted: the next gather records them, and tells the callbacks
                for job in fresh:
                    job._gathered = None
                raise
        return fresh

    def _lacks_gather(self, job: Job[Any]) -> bool:
        """Whether we must record that this job was gathered: own jobs, and restored ones that were never gathered."""
        if job._evaluator is not None:
            return True
        return self._fenced and job._history is not None and job._history["timestamp_gather"] is None

    def _without_suspended(self, jobs: list[Job[Any]]) -> list[Job[Any]]:
        """Return the jobs that have really ended. Those that are left to be resumed have not, and get no hook."""
        left = [job for job in jobs if job.kind is FailureKind.SUSPENDED]
        if not left:
            return jobs
        self._recorder.suspended(left)
        return [job for job in jobs if job.kind is not FailureKind.SUSPENDED]


def raise_first_failure(jobs: list[Job[Any]]) -> None:
    """Raise `JobError` for the first failed job; not for a restored one, whose own run has raised it."""
    for job in jobs:
        if job.error is not None and job._status is JobStatus.FAILED and not (job._history or {}).get("restored"):
            raise JobError(f"Job {job.id} failed with {job.objective}:\n{job.error}", job, jobs)
