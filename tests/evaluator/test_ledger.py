"""Where jobs stand between submission and end, against a plain model; without a thread, a clock or a sleep."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evalpool import FailureKind, Job, JobStatus
from evalpool.evaluator._attempt import Attempt
from evalpool.evaluator._ledger import JobLedger
from evalpool.jobs._options import Submission
from evalpool.outcomes import Outcome, failed

DONE = Outcome(JobStatus.DONE, 1.0)
RAISED = failed(FailureKind.RAISED, "ValueError: no")
DIED = failed(FailureKind.WORKER_DIED, "exit code 1")


def new_jobs(count: int, first: int = 0, priority: int = 0) -> list[Job[Any]]:
    jobs: list[Job[Any]] = [Job(None, None, "0", first + n, {"x": first + n}, "hpo", 0.0) for n in range(count)]
    if priority:
        for job in jobs:
            job.options = Submission({}, priority=priority).options
    return jobs


def finish(job: Job[Any], outcome: Outcome) -> None:
    """What the core does with a job that is out of the ledger."""
    job._outcome, job._status = outcome, outcome.status


def numbers(attempts: list[Attempt]) -> list[int]:
    return [attempt.job.number for attempt in attempts]


class Lent:
    """Resources of which there are a few; `acquire` raises for the jobs in `refused`."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.refused: set[int] = set()

    def acquire(self, job: Job[Any]) -> dict[str, Any] | None:
        if job.number in self.refused:
            raise ConnectionError("away")
        if not self.left:
            return None
        self.left -= 1
        return {"gpu": self.left}

    def release(self, job: Job[Any]) -> None:
        self.left += 1
        if job.number in self.refused:
            raise ConnectionError("away again")

    def describe(self, extra: dict[str, Any]) -> dict[str, Any]:
        return extra


def test_slots_go_to_the_jobs_that_were_submitted_first() -> None:
    ledger = JobLedger(2)
    jobs = new_jobs(3)
    ledger.accept(jobs)
    attempts, unable = ledger.take()
    assert numbers(attempts) == [0, 1]
    assert not unable
    assert ledger.free == 0
    assert [job.status for job in jobs] == [JobStatus.RUNNING, JobStatus.RUNNING, JobStatus.READY]
    assert ledger.take() == ([], [])
    assert ledger.end(attempts[0])
    assert numbers(ledger.take()[0]) == [2]


def test_an_attempt_says_what_an_engine_needs() -> None:
    ledger = JobLedger(2, job_timeout=7.0)
    jobs = new_jobs(2)
    jobs[1].options = Submission({}, job_timeout=0).options
    ledger.accept(jobs)
    (first, second), _ = ledger.take()
    assert (first.job, first.number, first.configuration, first.extra) == (jobs[0], 1, {"x": 0}, None)
    assert (first.timeout, second.timeout) == (7.0, None)


def test_an_attempt_ends_once() -> None:
    ledger = JobLedger(1)
    ledger.accept(new_jobs(1))
    (attempt,), _ = ledger.take()
    assert ledger.end(attempt)
    assert not ledger.end(attempt)
    assert ledger.free == 1


def test_a_retry_goes_first_and_the_attempt_before_it_is_stale() -> None:
    ledger = JobLedger(1, retries={FailureKind.RAISED: 1})
    ledger.accept(new_jobs(2))
    (first,), _ = ledger.take()
    assert ledger.end(first)
    assert ledger.retry(first.job, RAISED)
    (second,), _ = ledger.take()
    assert (second.job, second.number) == (first.job, 2)
    assert not ledger.end(first)
    assert ledger.free == 0
    assert ledger.end(second)
    assert not ledger.retry(second.job, RAISED)
    assert first.job.attempt_errors == ["[raised] ValueError: no"]


def test_retries_are_counted_by_kind() -> None:
    ledger = JobLedger(1, retries={FailureKind.RAISED: 1, FailureKind.WORKER_DIED: 1})
    (job,) = new_jobs(1)
    assert [ledger.may_retry(job, outcome) for outcome in (RAISED, DIED, RAISED, DIED)] == [True, True, False, False]
    assert not ledger.may_retry(job, failed(FailureKind.UNPICKLABLE, "no"))


@pytest.mark.parametrize(("stop", "again"), [(FailureKind.CANCELLED, False), (FailureKind.TIMEOUT, True)])
def test_only_a_timeout_leaves_a_job_that_was_asked_to_stop_its_retries(stop: FailureKind, again: bool) -> None:
    ledger = JobLedger(1, retries={FailureKind.RAISED: 1})
    (job,) = new_jobs(1)
    job._stop = stop
    assert ledger.may_retry(job, RAISED) is again


def test_a_disowned_attempt_holds_its_slot_until_its_engine_reports_it() -> None:
    ledger = JobLedger(1, resources=(lent := Lent(1)))
    ledger.accept(new_jobs(2))
    (attempt,), _ = ledger.take()
    assert ledger.disown(attempt)
    assert not ledger.disown(attempt)
    assert ledger.take() == ([], [])
    assert lent.left == 0
    assert not ledger.end(attempt)  # its outcome does not count
    assert lent.left == 1
    assert numbers(ledger.take()[0]) == [1]


def test_a_job_that_was_cancelled_while_it_was_ready_is_left_out() -> None:
    ledger = JobLedger(2)
    jobs = new_jobs(3)
    ledger.accept(jobs)
    finish(jobs[0], failed(FailureKind.CANCELLED, "cancelled"))
    assert ledger.ready() == jobs[1:]
    assert numbers(ledger.take()[0]) == [1, 2]


def test_a_last_chance_runs_alone() -> None:
    ledger = JobLedger(2)
    chances = new_jobs(2)
    ledger.accept(new_jobs(2, first=2))
    ledger.accept_last_chances(chances)
    both, _ = ledger.take()
    assert numbers(both) == [2, 3]
    assert ledger.end(both[0])
    assert ledger.take() == ([], [])  # the other one runs
    assert ledger.end(both[1])
    (alone,), _ = ledger.take()
    assert alone.job is chances[0]
    ledger.accept(new_jobs(1, first=4))
    assert ledger.take() == ([], [])  # it has its last chance
    assert ledger.ready() == [*chances[1:], *ledger.fresh] or ledger.ready() == [*ledger.fresh, *chances[1:]]
    assert ledger.end(alone)
    finish(alone.job, DONE)
    assert numbers(ledger.take()[0]) == [4]


def test_a_last_chance_is_alone_also_when_it_is_retried() -> None:
    ledger = JobLedger(2, retries={FailureKind.RAISED: 1})
    (chance,) = new_jobs(1)
    ledger.accept_last_chances([chance])
    (attempt,), _ = ledger.take()
    ledger.accept(new_jobs(2, first=1))
    assert ledger.end(attempt)
    assert ledger.retry(chance, RAISED)
    (again,), _ = ledger.take()
    assert again.job is chance
    assert ledger.take() == ([], [])
    assert ledger.end(again)
    finish(chance, RAISED)
    assert numbers(ledger.take()[0]) == [1, 2]


def test_a_last_chance_is_alone_also_when_it_waited_for_what_it_is_lent() -> None:
    ledger = JobLedger(2, resources=(lent := Lent(0)))
    (chance,) = new_jobs(1)
    ledger.accept_last_chances([chance])
    assert ledger.take() == ([], [])
    ledger.accept(new_jobs(2, first=1))
    lent.left = 2
    (attempt,), _ = ledger.take()
    assert attempt.job is chance
    assert ledger.take() == ([], [])
    assert ledger.end(attempt)
    finish(chance, DONE)
    assert numbers(ledger.take()[0]) == [1, 2]


def test_jobs_wait_for_what_they_are_to_be_lent() -> None:
    ledger = JobLedger(3, resources=Lent(2))
    ledger.accept(new_jobs(3))
    attempts, _ = ledger.take()
    assert numbers(attempts) == [0, 1]
    assert [attempt.extra for attempt in attempts] == [{"gpu": 1}, {"gpu": 0}]
    assert ledger.end(attempts[0])
    assert numbers(ledger.take()[0]) == [2]


def test_resources_that_raise_cost_their_job_and_no_slot() -> None:
    lent = Lent(2)
    ledger = JobLedger(2, resources=lent)
    lent.refused = {0}
    ledger.accept(new_jobs(2))
    attempts, unable = ledger.take()
    assert numbers(attempts) == [1]
    ((job, outcome),) = unable
    assert (job.number, job.attempts, outcome.kind) == (0, 1, FailureKind.WORKER_DIED)
    assert "ConnectionError: away" in str(outcome.error)
    lent.refused = {1}
    assert ledger.end(attempts[0])
    assert ledger.free == 2
    assert "resources of job 0.1" in ledger.troubles[0][0]


def test_attempts_that_could_not_be_handed_over_are_ended() -> None:
    ledger = JobLedger(3)
    ledger.accept(new_jobs(3))
    attempts, _ = ledger.take()
    assert ledger.end(attempts[0])  # reported by the engine already
    assert numbers(ledger.give_up_handing()) == [1, 2]
    assert ledger.free == 3
    assert ledger.give_up_handing() == []


def test_after_a_fork_nothing_is_left() -> None:
    ledger = JobLedger(2)
    ledger.accept(new_jobs(3))
    ledger.take()
    ledger.forget()
    assert (ledger.free, ledger.ready(), ledger.running) == (2, [], {})


class Ledger(RuleBasedStateMachine):
    """The model: lists of numbers by place, in the order in which they are to leave."""

    @initialize(slots=st.integers(1, 4), retries=st.integers(0, 2), lends=st.booleans())
    def create(self, slots: int, retries: int, lends: bool) -> None:
        self.lent = Lent(3) if lends else None
        self.ledger = JobLedger(slots, retries={FailureKind.RAISED: retries}, resources=self.lent)
        self.retries = retries
        self.slots = slots
        self.jobs: dict[int, Job[Any]] = {}
        self.ready: dict[int, tuple[int, bool, int]] = {}  # number -> its rank
        self.order = 0
        self.running: dict[int, Attempt] = {}
        self.disowned: list[Attempt] = []
        self.stale: list[Attempt] = []
        self.failures: Counter[int] = Counter()
        self.delivered: Counter[int] = Counter()

    def rank(self, job: Job[Any], retried: bool) -> tuple[int, bool, int]:
        # In the order of acceptance, which is that of the numbers.
        return -job.options.priority, not retried, job.number

    def deliver(self, job: Job[Any], outcome: Outcome) -> None:
        finish(job, outcome)
        self.delivered[job.number] += 1

    @rule(count=st.integers(1, 4), priority=st.sampled_from([0, 0, 0, 1, 2, -1]))
    def submit(self, count: int, priority: int) -> None:
        jobs = new_jobs(count, len(self.jobs), priority)
        self.jobs.update((job.number, job) for job in jobs)
        self.ready.update((job.number, self.rank(job, False)) for job in jobs)
        self.ledger.accept(jobs)

    @rule()
    def take(self) -> None:
        room = self.slots - len(self.running) - len(self.disowned)
        if self.lent is not None:
            room = min(room, self.lent.left)
        expected = sorted(self.ready, key=self.ready.__getitem__)[: max(0, room)]
        attempts, unable = self.ledger.take()
        assert not unable
        assert numbers(attempts) == expected
        for attempt in attempts:
            job = attempt.job
            assert job is self.jobs[job.number]
            assert attempt.number == job.attempts == self.failures[job.number] + 1
            assert job.status is JobStatus.RUNNING
            del self.ready[job.number]
            self.running[job.number] = attempt

    @precondition(lambda self: self.running)
    @rule(data=st.data(), fails=st.booleans())
    def report(self, data: Any, fails: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.running)))
        attempt = self.running.pop(number)
        self.stale.append(attempt)
        assert self.ledger.end(attempt)
        outcome = RAISED if fails else DONE
        again = self.ledger.retry(attempt.job, outcome)
        assert again == (fails and self.failures[number] < self.retries)
        if again:
            self.failures[number] += 1
            self.ready[number] = self.rank(attempt.job, True)
        else:
            self.deliver(attempt.job, outcome)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def give_up(self, data: Any) -> None:
        number = data.draw(st.sampled_from(sorted(self.running)))
        attempt = self.running.pop(number)
        assert self.ledger.disown(attempt)
        self.disowned.append(attempt)
        self.deliver(attempt.job, failed(FailureKind.TIMEOUT, "ran over"))

    @precondition(lambda self: self.disowned)
    @rule()
    def a_disowned_one_ends(self) -> None:
        attempt = self.disowned.pop()
        self.stale.append(attempt)
        assert not self.ledger.end(attempt)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def a_stale_one_is_reported(self, data: Any) -> None:
        assert not self.ledger.end(data.draw(st.sampled_from(self.stale)))

    @precondition(lambda self: self.ready)
    @rule(data=st.data())
    def cancel_a_ready_one(self, data: Any) -> None:
        number = data.draw(st.sampled_from(sorted(self.ready)))
        del self.ready[number]
        self.deliver(self.jobs[number], failed(FailureKind.CANCELLED, "cancelled"))

    @precondition(lambda self: self.ready)
    @rule(data=st.data())
    def remove_a_ready_one(self, data: Any) -> None:
        number = data.draw(st.sampled_from(sorted(self.ready)))
        del self.ready[number]
        assert self.ledger.remove_ready(self.jobs[number])
        self.deliver(self.jobs[number], failed(FailureKind.SUSPENDED, "another's"))

    @rule()
    def end_all_that_is_ready(self) -> None:
        jobs = self.ledger.remove_all_ready()
        assert [job.number for job in jobs] == sorted(self.ready, key=self.ready.__getitem__)
        self.ready.clear()
        for job in jobs:
            self.deliver(job, failed(FailureKind.CANCELLED, "closed"))

    @precondition(lambda self: self.slots > 1)
    @rule()
    def lose_a_slot(self) -> None:
        self.slots -= 1
        self.ledger.add_slots(-1)

    @rule()
    def gain_a_slot(self) -> None:
        self.slots += 1
        self.ledger.add_slots(1)

    @invariant()
    def each_job_is_in_one_place(self) -> None:
        if not hasattr(self, "ledger"):
            return
        ledger = self.ledger
        assert sorted(job.number for job in ledger.ready()) == sorted(self.ready)
        assert ledger.running == self.running
        assert ledger.disowned == set(self.disowned)
        assert self.delivered == Counter(set(self.jobs) - set(self.ready) - set(self.running))
        assert not ledger.troubles

    @invariant()
    def slots_are_conserved(self) -> None:
        if not hasattr(self, "ledger"):
            return
        ledger = self.ledger
        held = len(ledger.running) + len(ledger.disowned)
        assert ledger.free + held == ledger.capacity == self.slots
        before = ledger.free
        ledger.recount()
        assert ledger.free == before
        if self.lent is not None:
            assert self.lent.left == 3 - held


TestLedger = Ledger.TestCase
