"""Which ready job goes next; without a thread."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evalpool import Job
from evalpool.evaluator._scheduler import Scheduler
from evalpool.jobs._options import Submission


def job(number: int, priority: int = 0) -> Job[Any]:
    made: Job[Any] = Job(None, None, "0", number, {"x": number}, "hpo", 0.0)
    if priority:
        made.options = Submission({}, priority=priority).options
    return made


def taken(scheduler: Scheduler) -> list[int]:
    """The numbers of the jobs in the order in which they are taken."""
    numbers = []
    while (first := scheduler.first()) is not None:
        numbers.append(first.number)
        scheduler.drop_first()
    return numbers


def test_jobs_without_options_go_in_the_order_of_submission() -> None:
    scheduler = Scheduler()
    scheduler.add([job(2), job(0)])
    scheduler.add([job(1)])
    assert len(scheduler) == 3
    assert taken(scheduler) == [2, 0, 1]
    assert not scheduler


def test_a_retried_job_goes_before_those_of_its_priority_and_after_those_above() -> None:
    scheduler = Scheduler()
    scheduler.add([job(0), job(1, priority=1), job(2, priority=-1), job(3, priority=-1)])
    scheduler.add_retried(job(5))
    scheduler.add_retried(job(4))
    scheduler.add_retried(job(6, priority=-1))
    assert taken(scheduler) == [1, 4, 5, 0, 6, 2, 3]


def test_options_other_than_a_priority_change_no_order() -> None:
    tagged = job(0)
    tagged.options = Submission({}, tags=["warm"]).options
    scheduler = Scheduler()
    scheduler.add([tagged, job(1)])
    scheduler.add([job(2)])
    assert taken(scheduler) == [0, 1, 2]


@given(st.lists(st.tuples(st.integers(-2, 2), st.booleans()), max_size=30), st.data())
def test_the_order_is_by_priority_then_retries_then_submission(jobs: list[tuple[int, bool]], data: Any) -> None:
    scheduler = Scheduler()
    made = [job(number, priority) for number, (priority, _) in enumerate(jobs)]
    for each, (_, retried) in zip(made, jobs, strict=True):
        if retried:
            scheduler.add_retried(each)
        else:
            scheduler.add([each])
    removed = set()
    if made:
        removed = set(data.draw(st.lists(st.sampled_from(range(len(made))), max_size=5)))
    for number in removed:
        assert scheduler.remove(made[number])
        assert not scheduler.remove(made[number])
    expected = sorted(
        set(range(len(jobs))) - removed, key=lambda number: (-jobs[number][0], not jobs[number][1], number)
    )
    assert [each.number for each in scheduler] == expected
    assert len(scheduler) == len(expected)
    assert taken(scheduler) == expected
