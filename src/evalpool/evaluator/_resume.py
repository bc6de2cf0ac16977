"""Taking up what a dead owner left: what had finished is given back, what was lost is run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool._interrupts import Shielded
from evalpool.errors import EvaluatorClosed
from evalpool.evaluator._foreign_jobs import job_of
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, JobStatus, Outcome, failed

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.models import JobRecord

__all__ = ["given_up", "resume"]


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


def resume(evaluator: Evaluator, max_lost: int | None) -> int:
    """As `Evaluator.resume`, with a checked argument."""
    core, search, submissions = evaluator._core, evaluator._search, evaluator._submissions
    if core.closed:
        raise EvaluatorClosed(f"This {type(evaluator).__name__} is closed; make a new one to resume the search.")
    if search.begun or not search.storage.keeps:
        return 0
    evaluator._start_up()
    evaluator._fence.take()
    found = _find(evaluator, None if evaluator._backend.jobs_are_isolated else max_lost)
    core.accept_ended([*((job, None) for job in found.restored), *found.given_up], core.inbox)
    if found.given_up:
        evaluator._recorder.outcomes([job for job, _ in found.given_up])
    with Shielded():
        submissions.accept(found.again, core.inbox)
    if found.last_chances:
        submissions.accept_last_chances(found.last_chances, core.inbox)
    return len(found.again) + len(found.last_chances)


def _find(evaluator: Evaluator, max_lost: int | None) -> Resumed:
    """Claim what was lost, and see what had finished. Costs the jobs of the search.

    Of the jobs that ran when their evaluator ended, one may have ended it, and the others were beside it by chance. So
    the last run before a job is given up is one in which nothing else runs, and only the culprit is lost again.
    """
    search = evaluator._search
    storage = search.storage
    storage.flush()
    lost = storage.claim_lost(search.search_id, search.owner)
    found = Resumed([], [], [], [])
    # The follower gives each job once: what is restored here is no news of other clients, however often one resumes
    # and whatever they finish meanwhile.
    for record in evaluator._foreign_jobs.follower().poll():
        if record.status in (JobStatus.DONE, JobStatus.FAILED):
            job = job_of(record, search)
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
        evaluator._core.inbox,
        record.search_id,
        record.number,
        record.configuration,
        evaluator.job_type,
        record.timestamp_submit or 0.0,
    )
    job.attempts = record.attempts
    job._errors = list(record.attempt_errors) or None
    evaluator._submissions.take_options(job, record.options)
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
