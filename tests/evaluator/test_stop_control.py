"""What stops jobs, with a clock and timers that the test holds; without a thread or a sleep."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from evalpool import FailureKind, Job, JobStatus
from evalpool.evaluator._attempt import Attempt
from evalpool.evaluator._core import Core
from evalpool.evaluator._ledger import JobLedger
from evalpool.evaluator._stop_control import GRACE, LOCK_DELAY, LONGEST_DELAY, StopControl
from evalpool.outcomes import Outcome, Worker, failed


class Timers:
    """A clock that stands still, and what is to be called at which of its times."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.due: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        self.due.append((self.now + seconds, call, arguments))

    def pass_by(self, seconds: float) -> None:
        """Let time pass, and each timer fire when it is due."""
        end = self.now + seconds
        while self.due and min(self.due, key=lambda each: each[0])[0] <= end:
            first = min(self.due, key=lambda each: each[0])
            self.due.remove(first)
            self.now = max(self.now, first[0])
            first[1](*first[2])
        self.now = end

    def stand_still(self, seconds: float) -> None:
        """The process is held up: time passes, and what was due fires late, all at once."""
        self.now += seconds
        late, self.due = sorted(self.due, key=lambda each: each[0]), []
        for when, call, arguments in late:
            if when <= self.now:
                call(*arguments)
            else:
                self.due.append((when, call, arguments))


class Engine:
    """Runs nothing; the test reports."""

    def __init__(self, workers_are: str, forces: bool) -> None:
        self.workers_are = workers_are
        self.forces = forces
        self.attempts: list[Attempt] = []
        self.asked: list[int] = []
        self.forced: list[int] = []

    def run(self, attempts: list[Attempt]) -> None:
        self.attempts += attempts

    def ask_to_stop(self, attempt: Attempt) -> None:
        self.asked.append(attempt.job.number)

    def force_stop(self, attempt: Attempt) -> bool:
        self.forced.append(attempt.job.number)
        return self.forces


class World:
    """A core with its stop control, jobs that run in it, and time."""

    def __init__(
        self,
        running: int = 1,
        waiting: int = 0,
        *,
        workers_are: str = "processes",
        forces: bool = True,
        durable: bool = False,
        grace: float = GRACE,
        **ledger: Any,
    ) -> None:
        self.timers = Timers()
        self.engine = Engine(workers_are, forces)
        self.core = Core(JobLedger(running, **ledger), self.engine, name="Evaluator")
        self.stops = self.core.stops = StopControl(
            self.core, self.engine, self.timers.after, name="Evaluator", origin=900.0, may_suspend=durable,
            grace=grace, clock=lambda: self.timers.now,
        )  # fmt: skip
        inbox = self.core.inbox
        self.jobs: list[Job[Any]] = [Job(None, inbox, "0", n, {}, "hpo", 0.0) for n in range(running + waiting)]
        self.core.accept(self.jobs, inbox)
        for attempt in self.engine.attempts:
            attempt.job._started = self.timers.now - 900.0
            self.stops.started(attempt)

    @property
    def attempt(self) -> Attempt:
        return self.engine.attempts[0]

    def report(self, start: float, end: float, worker: Worker | None = None, told: bool | None = None) -> Job[Any]:
        outcome = Outcome(JobStatus.DONE, 7.0, start=start, end=end, worker=worker, stopped_early=told)
        self.core.report([(self.attempt, outcome)])
        return self.attempt.job

    def gathered(self) -> list[int]:
        return [job.number for job in self.core.take(self.core.inbox)]


def test_a_job_over_its_timeout_is_asked_then_forced() -> None:
    world = World(job_timeout=5.0)
    world.timers.pass_by(4.9)
    assert not world.engine.asked
    world.timers.pass_by(0.2)
    assert world.engine.asked == [0]
    assert not world.engine.forced
    assert world.jobs[0].status is JobStatus.CANCELLING
    world.timers.pass_by(GRACE)
    assert world.engine.forced == [0]
    assert world.report(1000.0, 1005.2).objective == "F_timeout"
    assert world.jobs[0].error == "ran over its job timeout of 5.0 s"


def test_the_grace_may_be_longer() -> None:
    world = World(grace=3.0)
    world.stops.cancel(world.jobs)
    world.timers.pass_by(2.9)
    assert world.engine.forced == []
    world.timers.pass_by(0.2)
    assert len(world.engine.forced) == 1


def test_a_job_that_ends_within_its_grace_is_not_forced() -> None:
    world = World(job_timeout=5.0)
    world.timers.pass_by(5.0)
    world.report(1000.0, 1004.0)
    world.timers.pass_by(60.0)
    assert not world.engine.forced
    assert world.gathered() == [0]


def test_a_job_that_returned_because_it_was_to_stop_has_timed_out_although_it_began_after_its_timer() -> None:
    world = World(job_timeout=5.0)
    world.timers.pass_by(5.0)
    assert world.report(1000.1, 1005.0, told=True).objective == "F_timeout"
    world = World(job_timeout=5.0)
    world.timers.pass_by(5.0)
    assert world.report(1000.1, 1005.0).objective == 7.0


def test_an_attempt_that_ended_is_no_business_of_its_timer() -> None:
    world = World(job_timeout=5.0, retries={FailureKind.RAISED: 1})
    world.core.report([(world.attempt, failed(FailureKind.RAISED, "no", start=1000.0, end=1000.0))])
    assert world.engine.attempts[1].number == 2
    world.timers.pass_by(60.0)  # the second attempt has not begun
    assert not world.engine.asked
    assert not world.stops.stop(world.attempt, FailureKind.CANCELLED)
    assert world.stops.asked_to_stop(world.attempt)
    assert not world.stops.asked_to_stop(world.engine.attempts[1])


def test_what_cannot_be_forced_is_given_back_and_keeps_its_slot(caplog: pytest.LogCaptureFixture) -> None:
    world = World(running=1, waiting=1, forces=False, workers_are="threads")
    assert world.stops.cancel([world.jobs[0]]) == 1
    world.timers.pass_by(GRACE)
    assert world.gathered() == [0]
    assert world.jobs[0].kind is FailureKind.CANCELLED
    assert "Evaluator cannot stop it" in caplog.text
    assert world.core.ledger.free == 0
    world.report(1000.0, 1003.0)
    assert world.gathered() == []
    assert [attempt.job.number for attempt in world.engine.attempts] == [0, 1]


@pytest.mark.parametrize("late", [LONGEST_DELAY / 2, LONGEST_DELAY * 2])
def test_a_timer_that_fires_late_lets_results_be_read_first(late: float) -> None:
    world = World(job_timeout=5.0)
    world.timers.stand_still(5.0 + late)
    assert world.engine.asked == ([0] if late < LONGEST_DELAY else [])
    world.timers.pass_by(GRACE)
    assert world.engine.asked == [0]


def test_a_job_in_a_thread_is_given_time_if_its_timer_waited_for_the_interpreter() -> None:
    """A search that held its lock, until a moment after the timer was due, kept the job from ending, too."""
    world = World(job_timeout=5.0, workers_are="threads")
    world.timers.stand_still(5.0 + 2 * LOCK_DELAY)
    assert world.engine.asked == []
    assert world.report(1000.0, 1005.0 + 2 * LOCK_DELAY).objective == 7.0


def test_a_job_in_a_thread_has_its_limit_where_timers_are_always_a_little_late() -> None:
    world = World(job_timeout=5.0, workers_are="threads")
    world.timers.stand_still(5.0 + LONGEST_DELAY / 2)
    world.timers.stand_still(GRACE + LONGEST_DELAY / 2)
    assert world.engine.asked == [0]


def test_jobs_in_threads_get_back_the_time_for_which_the_process_stood_still() -> None:
    world = World(job_timeout=5.0, workers_are="threads")
    world.timers.stand_still(8.0)
    world.timers.pass_by(2.9)
    assert world.engine.asked == []
    assert world.report(1000.0, 1010.9).objective == 7.0
    world = World(job_timeout=5.0, workers_are="threads")
    world.timers.stand_still(8.0)
    world.timers.stand_still(4.0)
    world.timers.pass_by(0.9)
    assert world.engine.asked == []
    world.timers.pass_by(0.1)
    assert world.engine.asked == [0]


def test_a_cancelled_job_that_waited_never_runs() -> None:
    world = World(running=1, waiting=2)
    assert world.stops.cancel(world.jobs) == 3
    assert world.gathered() == [1, 2]
    world.report(1000.0, 1001.0)
    assert len(world.engine.attempts) == 1
    assert world.stops.cancel(world.jobs) == 0


def test_a_job_that_had_ended_when_it_was_cancelled_keeps_its_outcome() -> None:
    world = World()
    world.stops.cancel(world.jobs)
    assert world.report(999.0, 999.5).objective == 7.0
    world = World()
    world.stops.cancel(world.jobs)
    assert world.report(999.0, 1000.5).kind is FailureKind.CANCELLED


def test_of_a_job_elsewhere_its_duration_counts_from_the_start_that_was_seen() -> None:
    world = World()
    world.timers.pass_by(10.0)
    world.stops.cancel(world.jobs)
    assert world.report(5000.0, 5009.0, Worker("far-0", "another host", 1)).objective == 7.0


def test_the_spent_budget_ends_what_waits_and_stops_what_runs() -> None:
    world = World(running=1, waiting=1)
    world.stops.set_budget(60.0, suspends=False)
    assert world.stops.time_left() == 60.0
    world.timers.pass_by(60.0)
    assert world.stops.time_left() == 0.0
    assert world.core.out_of_time
    assert world.gathered() == [1]
    assert world.jobs[1].error == "the time budget of 60.0 s was spent"
    assert world.engine.asked == [0]
    assert world.report(1000.0, 1059.0).objective == 7.0  # it ended in time, and its result came late


def test_a_budget_that_was_lifted_ends_nothing() -> None:
    world = World()
    world.stops.set_budget(60.0, suspends=False)
    world.stops.set_budget(None, suspends=False)
    world.timers.pass_by(100.0)
    assert not world.engine.asked
    assert world.stops.budget_end == math.inf
    assert world.stops.time_left() is None


@pytest.mark.parametrize("durable", [False, True])
def test_a_deadline_leaves_what_is_unfinished_to_be_resumed_where_a_store_outlives_us(durable: bool) -> None:
    world = World(running=1, waiting=1, durable=durable)
    world.stops.set_budget(60.0, suspends=True)
    world.timers.pass_by(60.0)
    assert world.jobs[1].kind is (FailureKind.SUSPENDED if durable else FailureKind.CANCELLED)
    assert world.report(1000.0, 1061.0).kind is (FailureKind.SUSPENDED if durable else FailureKind.CANCELLED)


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_a_result_read_before_the_timer_fires_has_timed_out_unless_we_were_held_up_with_it(where: str) -> None:
    world = World(job_timeout=5.0, workers_are=where)
    assert world.report(1000.0, 1005.5).objective == ("F_timeout" if where == "processes" else 7.0)
