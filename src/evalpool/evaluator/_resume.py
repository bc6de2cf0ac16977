"""Continues a search whose owner has ended: `gather` returns what had finished, and lost jobs run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool._interrupts import defer_signals
from evalpool.errors import EvaluatorClosed
from evalpool.evaluator._foreign_jobs import job_of
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, JobStatus, Outcome, failed

if TYPE_CHECKING:
    from evalpool.evaluator._core import Core
    from evalpool.evaluator._fence import Fence
    from evalpool.evaluator._foreign_jobs import ForeignJobs
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.evaluator._recorder import Recorder
    from evalpool.evaluator._submission import Submissions
    from evalpool.models import JobRecord

__all__ = ["Resumption", "given_up"]


class Resumed(NamedTuple):
    """The jobs that were found in a search.

    Attributes:
        restored: jobs that had finished.
        again: jobs to be run again.
        last_chances: jobs to be run again, each alone; if one is lost once more, it is given up.
        given_up: jobs that are given up, with their outcomes.
    """

    restored: list[Job[Any]]
    again: list[Job[Any]]
    last_chances: list[Job[Any]]
    given_up: list[tuple[Job[Any], Outcome]]


class Resumption:
    """Takes up the jobs of a continued search. In the caller's thread.

    Args:
        evaluator: becomes the evaluator of the resumed jobs.
        search: the continued search.
        core: takes the jobs.
        recorder: records the jobs that are given up.
        fence: is told which jobs were claimed.
        foreign_jobs: has followed the search from its first record on.
        submissions: accepts the jobs that run again.
        start: starts the engine, once.
        is_isolated: whether no job can end the evaluator; then no job is given up.
    """

    def __init__(
        self,
        evaluator: Any,
        search: OpenSearch,
        core: Core,
        *,
        recorder: Recorder,
        fence: Fence,
        foreign_jobs: ForeignJobs,
        submissions: Submissions,
        start: Callable[[], None],
        is_isolated: Callable[[], bool],
    ) -> None:
        self._evaluator = evaluator
        self._search = search
        self._core = core
        self._recorder = recorder
        self._fence = fence
        self._foreign_jobs = foreign_jobs
        self._submissions = submissions
        self._start = start
        self._is_isolated = is_isolated

    def resume(self, max_lost: int | None) -> int:
        """As `Evaluator.resume`, with a checked argument."""
        core, search, submissions = self._core, self._search, self._submissions
        if core.closed:
            name = type(self._evaluator).__name__
            raise EvaluatorClosed(f"This {name} is closed; make a new one to resume the search.")
        if search.begun or not search.storage.keeps:
            return 0
        self._start()
        self._fence.take()
        search.storage.flush()
        with defer_signals():  # nobody would run jobs that were claimed and not accepted: they are no longer lost
            found = self._find(None if self._is_isolated() else max_lost)
            core.accept_ended([*((job, None) for job in found.restored), *found.given_up], core.inbox)
            if found.given_up:
                self._recorder.outcomes([job for job, _ in found.given_up])
            submissions.accept(found.again, core.inbox)
            if found.last_chances:
                submissions.accept_last_chances(found.last_chances, core.inbox)
        return len(found.again) + len(found.last_chances)

    def _find(self, max_lost: int | None) -> Resumed:
        """Claim the lost jobs, and find the finished ones. Costs the jobs of the search.

        If several jobs ran when their evaluator ended, one of them may have ended it, and the others are innocent. So
        in its last attempt before it is given up, a job runs alone: only the job that ends evaluators is lost again.
        """
        search = self._search
        found = Resumed([], [], [], [])
        # The follower gives each job once: what is restored here is never returned as another client's job, however
        # often `resume` is called and whatever other clients finish meanwhile. The claim comes last: if the storage
        # fails before, nothing has changed.
        follower = self._foreign_jobs.follower()
        finished = follower.look()
        lost = search.storage.claim_lost(search.search_id, search.owner)
        follower.take()
        for record in finished:
            if record.status in (JobStatus.DONE, JobStatus.FAILED):
                job = job_of(record, search)
                job._history = {**(job._history or {}), "restored": True}
                job._gathered = None  # `gather` of this evaluator has not returned it yet
                found.restored.append(job)
        found.restored.sort(key=lambda job: (job.metadata.get("timestamp_end") or 0.0, job.number))
        for record in lost:
            job = self._lost_job(record)
            if max_lost is not None and record.lost >= max_lost:
                found.given_up.append((job, given_up(record)))
            elif max_lost is not None and record.lost and record.lost == max_lost - 1:
                found.last_chances.append(job)
            else:
                found.again.append(job)
        self._fence.take_up([*found.again, *found.last_chances, *(job for job, _ in found.given_up)])
        return found

    def _lost_job(self, record: JobRecord) -> Job[Any]:
        job: Job[Any] = Job(
            self._evaluator,
            self._core.inbox,
            record.search_id,
            record.number,
            record.configuration,
            self._search.job_type,
            record.timestamp_submit or 0.0,
        )
        job.attempts = record.attempts
        job._errors = list(record.attempt_errors) or None
        self._submissions.take_options(job, record.options)
        return job


def given_up(record: JobRecord) -> Outcome:
    """Return the outcome of a job that was lost too often."""
    times = "once" if record.lost == 1 else f"{record.lost} times"
    return failed(
        FailureKind.WORKER_DIED,
        f"given up: it ran {times} when its evaluator's program ended without closing the evaluator, and may have "
        f"ended it ({'; '.join(record.attempt_errors)}). Run it where a job cannot end the program, such as "
        'method="process", or with resume(max_lost=None).',
    )
