"""How jobs get slots and results their consumer, whatever the engine does meanwhile; without a thread or a sleep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evalpool import FailureKind, Job, JobStatus
from evalpool.evaluator._attempt import Attempt
from evalpool.evaluator._core import Core
from evalpool.evaluator._ledger import JobLedger
from evalpool.evaluator._stop_control import StopControl
from evalpool.jobs._inbox import Inbox
from evalpool.outcomes import Outcome, failed

DONE = Outcome(JobStatus.DONE, 1.0)


class Engine:
    """Does with attempts what the test says, while they are handed over; then the test reports."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.attempts: dict[int, Attempt] = {}
        self.at_run: Callable[[list[Attempt]], None] = lambda attempts: None

    def run(self, attempts: list[Attempt]) -> None:
        self.calls.append([attempt.job.number for attempt in attempts])
        self.attempts |= {attempt.job.number: attempt for attempt in attempts}
        self.at_run(attempts)

    def ask_to_stop(self, attempt: Attempt) -> None:
        """It hears nothing."""


class World:
    """A core, its engine, and jobs for it."""

    def __init__(self, slots: int = 2, **ledger: Any) -> None:
        self.engine = Engine()
        self.core = Core(JobLedger(slots, **ledger), self.engine, name="Evaluator")
        self.core.stops = StopControl(
            self.core, self.engine, lambda *timer: None, name="Evaluator", origin=0.0, may_suspend=False
        )
        self.jobs: list[Job[Any]] = []

    def submit(self, count: int, inbox: Inbox | None = None) -> list[Job[Any]]:
        inbox = self.core.inbox if inbox is None else inbox
        first = len(self.jobs)
        jobs: list[Job[Any]] = [Job(None, inbox, "0", first + n, {}, "hpo", 0.0) for n in range(count)]
        self.jobs += jobs
        self.core.accept(jobs, inbox)
        return jobs

    def report(self, *numbers: int, outcome: Outcome = DONE) -> None:
        self.core.report([(self.engine.attempts[number], outcome) for number in numbers])

    def gathered(self) -> list[int]:
        return [job.number for job in self.core.take(self.core.inbox)]


def test_slots_are_filled_at_once_and_each_report_fills_those_that_it_frees() -> None:
    world = World(2)
    world.submit(5)
    world.report(0)
    world.report(2, 1)
    assert world.engine.calls == [[0, 1], [2], [3, 4]]
    assert world.gathered() == [0, 2, 1]
    world.report(3, 4)
    assert world.core.ledger.free == 2


def test_an_engine_that_reports_while_it_is_handed_jobs_gets_the_next_from_the_same_loop() -> None:
    world, depth = World(1), 0

    def at_once(attempts: list[Attempt]) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1, "run was called within run"
        world.core.report([(attempt, DONE) for attempt in attempts])
        world.core.pump()
        depth -= 1

    world.engine.at_run = at_once
    world.submit(2000)
    assert world.gathered() == list(range(2000))


def test_an_outcome_counts_once() -> None:
    world = World(1)
    world.submit(1)
    world.report(0)
    world.report(0, outcome=failed(FailureKind.RAISED, "late"))
    assert world.gathered() == [0]
    assert world.jobs[0].objective == 1.0
    assert world.core.ledger.free == 1


def test_what_an_engine_raises_fails_the_jobs_that_it_was_handed_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(2)

    def refuses(attempts: list[Attempt]) -> None:
        world.engine.at_run = lambda attempts: None
        raise OSError("no more files")

    world.engine.at_run = refuses
    world.submit(3)
    assert world.engine.calls == [[0, 1], [2]]
    assert world.gathered() == [0, 1]
    assert {job.kind for job in world.jobs[:2]} == {FailureKind.WORKER_DIED}
    assert "Evaluator could not dispatch the job." in (world.jobs[0].error or "")
    assert "Handing jobs to workers raised" in caplog.text
    world.report(2)
    assert world.gathered() == [2]


def test_what_an_engine_reported_before_it_raised_stands() -> None:
    world = World(2)

    def half(attempts: list[Attempt]) -> None:
        world.core.report([(attempts[0], DONE)])
        raise OSError("no more files")

    world.engine.at_run = half
    world.submit(2)
    assert [job.objective for job in world.jobs] == [1.0, "F_worker_died"]
    assert world.core.ledger.free == 2


def test_an_interrupt_while_jobs_are_handed_over_ends_those_and_the_others_go_on_later() -> None:
    world = World(2)

    def interrupted(attempts: list[Attempt]) -> None:
        raise KeyboardInterrupt

    world.engine.at_run = interrupted
    with pytest.raises(KeyboardInterrupt):
        world.submit(3)
    assert world.gathered() == [0, 1]
    assert world.jobs[0].error == "interrupted while it was handed to a worker"
    world.engine.at_run = lambda attempts: None
    world.core.pump_what_is_left()
    world.report(2)
    assert world.gathered() == [2]


def test_slots_that_come_later_are_filled_and_those_that_go_are_not() -> None:
    world = World(0)
    world.submit(3)
    assert world.engine.calls == []
    world.core.add_slots(2)
    assert world.engine.calls == [[0, 1]]
    world.core.add_slots(-1)
    world.report(0)
    assert world.engine.calls == [[0, 1]]
    world.report(1)
    assert world.engine.calls == [[0, 1], [2]]


def test_who_closes_while_jobs_are_handed_over_starts_no_more() -> None:
    world = World(1)

    def closes(attempts: list[Attempt]) -> None:
        world.core.closed = True
        world.core.report([(attempts[0], DONE)])

    world.engine.at_run = closes
    world.submit(2)
    assert world.engine.calls == [[0]]


def test_when_time_is_up_what_waits_ends_instead_of_starting() -> None:
    world = World(1)
    world.submit(3)
    world.core.out_of_time = True
    world.report(0)
    assert world.engine.calls == [[0]]
    assert world.gathered() == [0, 1, 2]
    assert [job.kind for job in world.jobs] == [None, FailureKind.CANCELLED, FailureKind.CANCELLED]


def test_what_has_ended_is_recorded_before_the_next_starts() -> None:
    world = World(1)
    seen: list[Any] = []
    world.core.record = lambda jobs: seen.append([job.number for job in jobs])
    world.engine.at_run = lambda attempts: seen.append("run")
    world.submit(2)
    world.report(0)
    assert seen == ["run", [0], "run"]


def test_a_job_whose_outcome_cannot_be_taken_ends_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    world = World(1)
    world.submit(2)
    world.core.report([(world.engine.attempts[0], None)])  # type: ignore[list-item]  # what no engine should
    assert world.jobs[0].kind is FailureKind.WORKER_DIED
    assert "Its outcome could not be taken" in (world.jobs[0].error or "")
    assert f"Taking the outcome of job {world.jobs[0].id} raised" in caplog.text
    world.report(1)
    assert world.gathered() == [0, 1]


def test_an_engine_that_went_wrong_says_which_jobs_it_has_and_the_others_fail() -> None:
    world = World(3)
    world.submit(4)
    world.core.lost(lambda: {1}, 2, OSError("broken"))
    assert world.gathered() == [0, 2]
    assert "by an error of its own" in (world.jobs[0].error or "")
    assert world.engine.calls == [[0, 1, 2], [3]]
    world.report(1, 3)
    assert world.core.ledger.free == 2


def test_a_failure_that_is_retried_is_given_to_nobody_and_none_is_retried_once_jobs_are_to_be_resumed() -> None:
    world = World(1, retries={FailureKind.RAISED: 5})
    world.submit(1)
    no = failed(FailureKind.RAISED, "no")
    world.report(0, outcome=no)
    assert world.gathered() == []
    assert world.engine.attempts[0].number == 2
    world.core.suspends = True
    world.report(0, outcome=no)
    assert world.gathered() == [0]


def test_each_consumer_has_its_own_jobs_and_what_is_put_back_comes_first() -> None:
    world, own = World(4), Inbox()
    world.submit(2)
    world.submit(2, own)
    world.report(3, 1, 0)
    jobs = world.core.take(world.core.inbox)
    assert [job.number for job in jobs] == [1, 0]
    assert [job.number for job in world.core.jobs_of(own)] == [2]
    world.core.put_back(world.core.inbox, jobs)
    world.submit(1)
    world.report(4)
    assert world.gathered() == [1, 0, 4]
    assert world.core.num_gathered == 3
    assert [job.number for job in world.core.take(own)] == [3]


def test_at_the_end_those_are_taken_that_close_gives_back_and_gather_has_the_others() -> None:
    world = World(4)
    jobs = world.submit(4)
    world.report(3, 2, 1, 0)
    finished, unfinished = world.core.take_unfinished([jobs[3], jobs[1]])
    assert [job.number for job in finished] == [3, 2, 1, 0]
    assert [job.number for job in unfinished] == [1, 3]
    assert world.gathered() == [2, 0]
    assert world.core.num_gathered == 4


def test_jobs_with_a_last_chance_run_alone_and_after_all_others() -> None:
    world = World(3)
    chances: list[Job[Any]] = [Job(None, world.core.inbox, "0", 10 + n, {}, "hpo", 0.0) for n in range(2)]
    world.submit(1)
    world.core.accept_last_chances(chances, world.core.inbox)
    world.submit(1)
    world.report(0)
    world.report(1)
    assert world.engine.calls == [[0], [1], [10]]
    world.report(10)
    world.report(11)
    assert world.gathered() == [0, 1, 10, 11]
