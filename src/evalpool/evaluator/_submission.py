"""From configurations to jobs that wait: numbers are taken, the jobs recorded, then queued; all of them or none.

An interrupt may come before any of these steps and inside each. Before the jobs are recorded, none has been taken, and
their numbers are used by the next ones. From then on they have been taken: a storage may have them although its
answer never came, so they are recorded again, which counts once, and queued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool._interrupts import Opened, Shielded, from_a_handler
from evalpool.evaluator._numbers import take_numbers
from evalpool.jobs._job import Job
from evalpool.jobs._options import NO_OPTIONS, JobOptions

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.jobs._inbox import Inbox

__all__ = ["enter", "take_options"]


def enter(
    evaluator: Evaluator, configurations: list[dict[str, Any]], options: dict[int, JobOptions], inbox: Inbox
) -> list[Job[Any]]:
    """Make jobs of checked configurations, record and queue them. Raises what prevents it; then none is taken.

    Args:
        options: by the `id` of a configuration; of those that have any.
    """
    first: int | None = None
    recording = False
    jobs: list[Job[Any]] = []
    recorder, hooks = evaluator._recorder, evaluator._hooks
    try:
        first = take_numbers(evaluator, len(configurations))
        search, job_type, now = evaluator._search_id, evaluator._job_type, evaluator._times.now()
        jobs = [
            Job(evaluator, inbox, search, number, configuration, job_type, now)
            for number, configuration in enumerate(configurations, first)
        ]
        if options:
            for job in jobs:
                take_options(evaluator, job, options.get(id(job.args), NO_OPTIONS))
        with Shielded():
            recording = True
            if recorder.keeps:
                recorder.created(jobs)
            if hooks.on_launch:
                with Opened():
                    for job in jobs:
                        hooks.call("on_launch", job)
            evaluator._accept(jobs, inbox)
    except BaseException as error:
        if isinstance(error, Exception) and not from_a_handler(error):
            raise  # the storage's word that it does not have them
        with Shielded():
            if recording and not _are_in(evaluator, jobs):
                recorder.created_again(jobs)
                evaluator._accept(jobs, inbox)
            elif first is not None and not recording:
                evaluator._spare_numbers.append((first, len(configurations)))
        raise
    return jobs


def take_options(evaluator: Evaluator, job: Job[Any], options: JobOptions) -> None:
    """Give a job its options, before it waits: from the first time limit on the evaluator keeps deadlines."""
    if options is not NO_OPTIONS:
        job.options = options
        if options.job_timeout and evaluator._core.ledger.own_limits:
            evaluator._expect_deadlines()


def _are_in(evaluator: Evaluator, jobs: list[Job[Any]]) -> bool:
    """Has the evaluator queued them already? They are queued together, and one moves on at a time."""
    last = jobs[-1]
    if evaluator._timeline is not None:
        return last._outcome is not None or evaluator._timeline.has(last)
    with evaluator._core.lock:
        return last._outcome is not None or last.attempts > 0 or last in evaluator._core.ledger.scheduler
