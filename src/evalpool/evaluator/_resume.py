"""Taking up what a dead owner left: what had finished is given back, what was lost is run again."""

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


class Resumption:
    """Takes up the jobs of a search that goes on. In the caller's thread.

    Args:
        evaluator: whose jobs the resumed ones become.
        search: which one.
        core: takes the jobs.
        recorder: hears of those that are given up.
        fence: is told which jobs were claimed.
        foreign_jobs: has followed the search from its first record on.
        submissions: accepts the jobs that run again.
        start: starts the engine, once.
        is_isolated: can no job end the evaluator? Then none is given up.
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
        found = self._find(None if self._is_isolated() else max_lost)
        core.accept_ended([*((job, None) for job in found.restored), *found.given_up], core.inbox)
        if found.given_up:
            self._recorder.outcomes([job for job, _ in found.given_up])
        with defer_signals():
            submissions.accept(found.again, core.inbox)
        if found.last_chances:
            submissions.accept_last_chances(found.last_chances, core.inbox)
        return len(found.again) + len(found.last_chances)

    def _find(self, max_lost: int | None) -> Resumed:
        """Claim what was lost, and see what had finished. Costs the jobs of the search.

        Of the jobs that ran when their evaluator ended, one may have ended it, and the others were beside it by chance.
        So the last run before a job is given up is one in which nothing else runs, and only the culprit is lost again.
        """
        search = self._search
        storage = search.storage
        storage.flush()
        lost = storage.claim_lost(search.search_id, search.owner)
        found = Resumed([], [], [], [])
        # The follower gives each job once: what is restored here is no news of other clients, however often one
        # resumes and whatever they finish meanwhile.
        for record in self._foreign_jobs.follower().poll():
            if record.status in (JobStatus.DONE, JobStatus.FAILED):
                job = job_of(record, search)
                job._history = {**(job._history or {}), "restored": True}
                job._gathered = None  # this evaluator has not given it back yet
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
    """What a job ends as that was lost too often."""
    times = "once" if record.lost == 1 else f"{record.lost} times"
    return failed(
        FailureKind.WORKER_DIED,
        f"given up: it ran {times} when its evaluator's program ended without a word, and may be what ended it "
        f"({'; '.join(record.attempt_errors)}). Run it where a job cannot end the program, such as "
        'method="process", or with resume(max_lost=None).',
    )
