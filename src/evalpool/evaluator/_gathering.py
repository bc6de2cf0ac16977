"""What happens to jobs as the caller takes them: they are recorded, and the callbacks hear of them, each once.

::

    jobs that are done ──► notices of when they ran ──► the fence: are they ours?
                       ──► recorded as gathered ──► on_done each ──► what others finished ──► on_gather

An interrupt may come at any of these steps. Before jobs are recorded they count as not gathered, and the next `gather`
gives them; after that each hook that is due stays due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    """Records what is gathered and tells of it; in the caller's thread, without a lock."""

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
        self._all_are_own = search.begun  # none was restored, which may be recorded already
        self._core = core
        self._now = times.now
        self._recorder = recorder
        self._fence = fence
        self._fenced = search.storage.durable
        self._hooks = hooks
        self._others_write = search.others_write
        self._look_for_others = foreign_jobs.look
        self._look_for_failures = first_failures.look

    def tell_notices(self) -> None:
        """Tell callbacks and storage what running jobs did."""
        try:
            self._hooks.deliver_notices()
        finally:
            if self._recorder.noted:
                self._recorder.write_noted()

    def conclude(self, jobs: list[Job[Any]]) -> None:
        """Record jobs that are given back and tell of them; then of the news of other clients.

        Jobs that turn out to be another's, and have not ended there, are taken out of `jobs`.
        """
        hooks, fence = self._hooks, self._fence
        if hooks.notices or self._recorder.noted:  # what these jobs recorded before they ended
            self.tell_notices()
        if self._fenced:
            fence.sift(jobs)
        claims = fence.seen
        fresh = [job for job in jobs if job._gathered is None]
        if self._core.suspends or fence.was_needed:
            fresh = self._without_suspended(fresh)
        if fresh:
            self._look_for_failures(fresh)
            fresh = self._record(fresh, jobs, claims)
            if hooks.on_done:
                hooks.add_each("on_done", fresh)
        try:
            others = self._look_for_others() if self._others_write else []
        except BaseException:  # interrupted: what is gathered is told nevertheless
            if fresh:
                hooks.add("on_gather", fresh, [])
            raise
        if (fresh or others) and hooks.on_gather:
            hooks.add("on_gather", fresh, others)
        if hooks.due:
            hooks.deliver()

    def _record(self, fresh: list[Job[Any]], jobs: list[Job[Any]], claims: Any) -> list[Job[Any]]:
        """Record that these of `jobs` are given back; returns those of which that is true afterwards."""
        now = self._now()
        for job in fresh:
            job._gathered = now
        own = fresh if self._all_are_own else [job for job in fresh if self._lacks_gather(job)]
        if self._recorder.keeps and own:
            try:
                self._recorder.gathered(own)
            except BaseException:  # interrupted: the next gather records them, and tells the callbacks
                for job in fresh:
                    job._gathered = None
                raise
            if self._fenced and (claims is not self._fence.seen or not self._fence.holds()):
                # Held up amidst: what others had claimed before is theirs.
                self._fence.sift(jobs)
                return [job for job in fresh if job._gathered is not None]
        return fresh

    def _lacks_gather(self, job: Job[Any]) -> bool:
        """Is it for us to record that this job was given back? Of the restored ones, those that nobody had gathered."""
        if job._evaluator is not None:
            return True
        return self._fenced and job._history is not None and job._history["timestamp_gather"] is None

    def _without_suspended(self, jobs: list[Job[Any]]) -> list[Job[Any]]:
        """Jobs that are left to be resumed have not ended: no hook hears of them. Returns the others."""
        left = [job for job in jobs if job.kind is FailureKind.SUSPENDED]
        if not left:
            return jobs
        self._recorder.suspended(left)
        return [job for job in jobs if job.kind is not FailureKind.SUSPENDED]


def raise_first_failure(jobs: list[Job[Any]]) -> None:
    """Raise `JobError` of the first of these jobs that failed; one that was restored was raised in its own run."""
    for job in jobs:
        if job.error is not None and job._status is JobStatus.FAILED and not (job._history or {}).get("restored"):
            raise JobError(f"Job {job.id} failed with {job.objective}:\n{job.error}", job, jobs)
