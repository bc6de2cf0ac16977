"""What a continued search gets back, runs again and gives up; without a thread or a sleep."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from claims import Clock, Store, World

from evalpool._interrupts import install, uninstall
from evalpool.errors import EvaluatorClosed, StorageUnavailable
from evalpool.evaluator._core import Core
from evalpool.evaluator._fence import Fence
from evalpool.evaluator._first_failures import FirstFailures
from evalpool.evaluator._foreign_jobs import ForeignJobs
from evalpool.evaluator._gathering import Gathering
from evalpool.evaluator._hook_queue import HookQueue
from evalpool.evaluator._lease import TTL, Lease
from evalpool.evaluator._resume import Resumption
from evalpool.evaluator._submission import Submissions
from evalpool.jobs import Submission
from evalpool.outcomes import FailureKind, JobStatus
from evalpool.storage._follow import Follower
from evalpool.storage._leases import claim_lost
from faults.lines import interrupt_at


class Continued(World):
    """The parts of an evaluator that may resume its search."""

    def __init__(self, clock: Clock, first: World | None = None, *, slots: int = 4, isolated: bool = False) -> None:
        storage, search_id = (None, None) if first is None else (first.storage, first.search.search_id)
        super().__init__(clock, storage, search_id, slots=slots, isolated=isolated)
        self.started = 0
        hooks = HookQueue([])
        self.foreign_jobs = ForeignJobs(self.search, hooks, self.back_off, self.fence.is_ours)
        gathering = Gathering(
            self.search, self.core, self.times, recorder=self.recorder, fence=self.fence, hooks=hooks,
            foreign_jobs=self.foreign_jobs, first_failures=FirstFailures([]),
        )  # fmt: skip
        self.submissions = Submissions(
            self, self.search, self.core, self.times, recorder=self.recorder, hooks=hooks, fence=self.fence,
            gathering=gathering, timeline=None, start=self.start, expect_deadlines=lambda: None,
        )  # fmt: skip
        self.resumption = Resumption(
            self, self.search, self.core, recorder=self.recorder, fence=self.fence, foreign_jobs=self.foreign_jobs,
            submissions=self.submissions, start=self.start, is_isolated=lambda: isolated,
        )  # fmt: skip

    def start(self) -> None:
        self.started += 1

    def resume(self, max_lost: int | None = 3) -> int:
        return self.resumption.resume(max_lost)

    def ran(self) -> list[tuple[int, int]]:
        """The number and attempt of each job that was handed to the engine."""
        return [(attempt.job.number, attempt.number) for attempt in self.engine.attempts]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def first(clock: Clock) -> Continued:
    return abandoned(clock)


def abandoned(clock: Clock) -> Continued:
    """Of whose four jobs 0 has ended and was gathered, 1 has ended, 2 ran, 3 had not begun; its program has ended."""
    world = Continued(clock)
    world.submissions.submit([{"x": 0}, {"x": 1}, {"x": 2}, Submission({"x": 3}, priority=2)], world.core.inbox)
    for number in range(3):
        world.starts(number, 1)
    for ended in range(2):
        world.report_job(ended, after=2.0 - ended)  # what ended last was recorded first
        if ended == 0:
            (job,) = world.gather()
            job._gathered = 1.5
            world.recorder.gathered([job])
    clock.forward(TTL)
    return world


def numbers(jobs: Any) -> list[int]:
    return [job.number for job in jobs]


def test_what_had_ended_is_gathered_and_what_was_lost_runs_again(clock: Clock, first: Continued) -> None:
    again = Continued(clock, first)
    assert again.resume() == 2
    restored = again.gather()
    assert [(job.number, job.objective, job.status) for job in restored] == [
        (1, 11.0, JobStatus.DONE),
        (0, 10.0, JobStatus.DONE),
    ]
    assert all(job._history["restored"] is True and job._gathered is None for job in restored)
    assert [job._history["timestamp_gather"] for job in restored] == [None, 1.5]
    assert again.ran() == [(3, 2), (2, 2)]  # the one of higher priority first
    assert again.started == 1
    leases, claims = again.written("lease"), again.written("queued")
    assert leases[-1].data["owner"] == again.search.owner  # else the next one would claim them at once
    events = again.storage.read(None)[0]
    assert events.index(leases[-1]) < events.index(claims[0])
    assert (again.core.num_submitted, again.core.num_gathered) == (4, 2)
    assert again.engine.attempts[0].job.options.priority == 2
    assert again.fence.taken_up == {2, 3}
    for number in (2, 3):
        again.report_job(number)
    assert again.results() == {number: 10.0 + number for number in range(4)}


def test_a_second_resume_returns_nothing_more(clock: Clock, first: Continued) -> None:
    again = Continued(clock, first)
    assert again.resume() == 2
    again.gather()
    assert again.resume() == 0
    assert again.gather() == []
    assert len(again.ran()) == 2


def test_jobs_of_an_owner_that_lives_are_neither_run_nor_lost(clock: Clock, first: Continued) -> None:
    first.fence.check()  # it lives, and renews its lease
    again = Continued(clock, first)
    assert again.resume() == 0
    assert numbers(again.gather()) == [1, 0]
    assert again.ran() == []


def test_what_another_finishes_after_the_resume_is_its_own_and_not_restored(clock: Clock, first: Continued) -> None:
    first.fence.check()
    again = Continued(clock, first)
    again.resume()
    again.gather()
    first.report_job(2)
    again.foreign_jobs.look(at_once=True)
    assert numbers(again.foreign_jobs.take()) == [2]
    assert again.resume() == 0
    assert again.gather() == []


@pytest.mark.parametrize(("max_lost", "isolated"), [(3, False), (1, False), (None, False), (3, True)])
def test_a_job_that_was_lost_too_often_is_given_up(
    max_lost: int | None, isolated: bool, clock: Clock, first: Continued
) -> None:
    for attempt in (2, 3):
        lost = Continued(clock, first)
        lost.resume(None)
        lost.starts(2, attempt)
        clock.forward(TTL)
    again = Continued(clock, first, isolated=isolated)
    given_up = max_lost is not None and not isolated
    assert again.resume(max_lost) == (1 if given_up else 2)
    jobs = {job.number: job for job in again.gather()}
    assert set(jobs) == ({0, 1, 2} if given_up else {0, 1})
    if given_up:
        assert jobs[2].kind is FailureKind.WORKER_DIED
        assert "it ran 3 times when its evaluator's program ended" in jobs[2].error
        assert len(jobs[2].attempt_errors) == 3
        (end,) = [event for event in again.written("finished") if event.number == 2]
        assert end.data["kind"] == "worker_died"
    else:
        assert (2, 4) in again.ran()


def test_in_its_last_attempt_a_job_runs_alone(clock: Clock, first: Continued) -> None:
    lost = Continued(clock, first)
    lost.resume()
    lost.starts(2, 2)
    clock.forward(TTL)
    again = Continued(clock, first)
    assert again.resume() == 2
    assert numbers(attempt.job for attempt in again.engine.attempts) == [3]
    again.report_job(3)
    assert again.ran()[-1] == (2, 3)
    again.submissions.submit([{"x": 9}], again.core.inbox)
    assert len(again.ran()) == 2  # until it has ended
    again.report_job(2)
    assert again.ran()[-1] == (4, 1)


def test_a_search_that_was_begun_here_has_nothing_to_resume(clock: Clock) -> None:
    world = Continued(clock)
    assert world.resume() == 0
    assert world.started == 0
    assert world.written("lease") == []


def test_a_closed_evaluator_resumes_nothing(clock: Clock, first: Continued) -> None:
    again = Continued(clock, first)
    again.core.closed = True
    with pytest.raises(EvaluatorClosed, match="This Continued is closed; make a new one to resume"):
        again.resume()


@pytest.fixture
def handlers() -> Iterator[None]:
    """A Ctrl-C is noted where signals are deferred, as while an evaluator is open."""
    assert install()
    yield
    uninstall()


def test_wherever_an_interrupt_strikes_the_next_resume_leaves_no_job_to_nobody(clock: Clock, handlers: None) -> None:
    functions = (
        Resumption.resume, Resumption._find, Resumption._lost_job, Core.accept_ended, Core.accept_last_chances,
        Core.queue, Core.accept, Fence.take, Fence.check, Fence._read, Lease.take, claim_lost, Follower.look,
        Follower.take, ForeignJobs.follower,
    )  # fmt: skip
    which, struck = 0, True
    while struck:
        first = abandoned(clock)
        again = Continued(clock, first, slots=2)
        with (
            interrupt_at(which, *functions, strike=lambda: signal.raise_signal(signal.SIGINT)) as line,
            contextlib.suppress(KeyboardInterrupt),
        ):
            again.resume()
        again.resume()
        assert sorted(numbers(again.gather())) == [0, 1], line.struck
        assert sorted(again.ran()) == [(2, 2), (3, 2)], line.struck
        assert (again.core.num_submitted, again.core.num_gathered) == (4, 2), line.struck
        struck = line.struck is not None
        which += 1
    assert which > 60


def test_a_storage_that_fails_when_the_finished_jobs_are_read_has_claimed_nothing(
    clock: Clock, first: Continued, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = Continued(clock, first)

    def fail(follower: Follower) -> None:
        raise StorageUnavailable("it is away")

    with monkeypatch.context() as patched:
        patched.setattr(Follower, "look", fail)
        with pytest.raises(StorageUnavailable):
            again.resume()
    assert again.resume() == 2
    assert numbers(again.gather()) == [1, 0]


def test_a_storage_that_is_away_costs_no_job(clock: Clock, first: Continued) -> None:
    again = Continued(clock, first)
    storage: Store = again.storage
    storage.away = True
    with pytest.raises(Exception, match="it is away"):
        again.resume()
    storage.away = False
    assert again.resume() == 2
    assert numbers(again.gather()) == [1, 0]
