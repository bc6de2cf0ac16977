"""Whose jobs they are after a pause longer than the lease; without a thread or a sleep."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from claims import Clock, World

from evalpool._interrupts import install, uninstall
from evalpool.evaluator._core import Core
from evalpool.evaluator._fence import Fence
from evalpool.evaluator._lease import TTL
from evalpool.outcomes import FailureKind, failed
from faults.lines import interrupt_at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def handlers() -> Iterator[None]:
    """A Ctrl-C is noted where signals are deferred, as while an evaluator is open."""
    assert install()
    yield
    uninstall()


def numbers(jobs: Any) -> list[int]:
    return [job.number for job in jobs]


def test_a_lease_lasts_until_the_end_that_was_read_and_not_the_one_that_was_sent(clock: Clock) -> None:
    world = World(clock)
    world.fence.take()
    ((seconds, renew),) = world.timers
    assert seconds == TTL / 3
    clock.forward(10)
    renew()
    assert len(world.timers) == 2  # the next renewal
    clock.forward(TTL - 10)
    assert not world.fence.holds()  # as far as is known: the renewal may not have arrived
    world.fence.check()
    assert len(world.written("lease")) == 2
    clock.forward(9.9)
    assert world.fence.holds()
    clock.forward(0.1)
    assert not world.fence.holds()


def test_a_renewal_that_never_arrived_is_made_up_for(clock: Clock) -> None:
    world = World(clock)
    world.fence.take()
    clock.forward(10)
    world.storage.away = True
    world.timers[0][1]()
    world.storage.away = False
    clock.forward(TTL - 10)
    world.fence.check()
    assert world.fence.holds()
    assert [event.data["expires"] for event in world.written("lease")] == [clock.unix, clock.unix + TTL]


@pytest.mark.parametrize("which", ["unix", "awake"])
def test_a_lease_ends_by_either_clock(which: str, clock: Clock) -> None:
    world = World(clock)
    world.fence.take()
    setattr(clock, which, getattr(clock, which) + TTL)
    assert not world.fence.holds()


def test_after_a_pause_in_which_nobody_claimed_anything_outcomes_are_recorded_once(clock: Clock) -> None:
    world = World(clock)
    world.submit(1)
    clock.forward(TTL)
    world.report()
    assert world.results() == {0: None}
    assert world.fence.is_needed
    world.turns()
    assert world.results() == {0: 1.0}
    assert numbers(world.gather()) == [0]
    assert len(world.written("finished")) == 1
    assert not world.fence.was_needed


def test_a_job_that_waited_is_given_up_and_has_the_result_of_its_claimant(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(clock)
    running, waiting = world.submit(2)
    clock.forward(TTL)
    world.another_claims(1)
    with caplog.at_level(logging.WARNING):
        world.fence.check()
    assert "have claimed 1 of its jobs. 0 of them ran here" in caplog.text
    assert (list(world.fence.claimed), list(world.fence.awaited)) == ([1], [1])
    world.report()
    assert world.engine.attempts[-1].job is running  # the other one was not started
    world.turns()
    assert numbers(world.gather()) == [0]
    world.another_finishes(1)
    world.turns()
    assert world.gather() == [waiting]
    assert (waiting.objective, waiting.attempts) == (7.0, 2)
    assert waiting._outcome is not None
    assert waiting._outcome.start == pytest.approx(3.0 + world.search.origin)
    assert not world.fence.awaited
    assert world.results() == {0: 1.0, 1: 7.0}


@pytest.mark.parametrize("ends", ["as asked", "all the same"])
def test_a_job_that_ran_is_stopped_and_its_own_outcome_is_dropped(ends: str, clock: Clock) -> None:
    world = World(clock)
    (job,) = world.submit(1)
    clock.forward(TTL)
    world.another_claims(0)
    world.fence.check()
    assert world.engine.asked == [0]
    world.report(failed(FailureKind.CANCELLED, "as asked") if ends == "as asked" else None)
    assert world.gather() == []
    assert (world.core.inbox.outstanding, world.core.num_gathered) == (1, 0)
    world.another_finishes(0)
    world.turns()
    assert world.gather() == [job]
    assert job.objective == 7.0
    assert len(world.written("finished")) == 1


def test_a_job_whose_claimant_ends_without_a_result_is_ours_again(clock: Clock) -> None:
    world = World(clock)
    (job,) = world.submit(1)
    clock.forward(TTL)
    world.another_claims(0)
    world.fence.check()
    world.report(failed(FailureKind.CANCELLED, "as asked"))
    assert world.gather() == []
    clock.forward(TTL)  # the claimant does not renew its lease
    world.turns()
    assert (world.fence.claimed, world.fence.awaited) == ({}, {})
    assert [attempt.number for attempt in world.engine.attempts] == [1, 3]
    world.report()
    assert world.gather() == [job]
    assert world.results() == {0: 1.0}


@pytest.mark.parametrize("isolated", [False, True])
def test_a_job_that_was_lost_three_times_is_given_up_where_it_could_end_the_program(
    isolated: bool, clock: Clock
) -> None:
    world = World(clock, isolated=isolated)
    world.submit(2)  # the second one is claimed; it waits here
    world.starts(1, 1)
    for attempt, owner in (2, "another"), (3, "a third"):
        clock.forward(TTL)
        world.another_claims(1, owner=owner)
        world.starts(1, attempt)
        world.fence.check()
    clock.forward(TTL)
    world.turns()
    jobs = world.gather()
    assert numbers(jobs) == ([] if isolated else [1])
    assert [job.kind for job in jobs] == ([] if isolated else [FailureKind.WORKER_DIED])
    assert all("it ran 3 times" in job.error for job in jobs)
    assert numbers(world.core.ledger.ready()) == ([1] if isolated else [])
    assert len(world.written("finished")) == len(jobs)


@pytest.mark.parametrize("why", ["left", "closed", "out of time", "may not await"])
def test_a_job_that_nobody_may_wait_for_is_left_to_its_claimant(why: str, clock: Clock) -> None:
    world = World(clock, may_await=why != "may not await")
    (job,) = world.submit(1)
    clock.forward(TTL)
    world.another_claims(0)
    world.report()
    world.core.closed, world.core.out_of_time = why == "closed", why == "out of time"
    if why == "left":
        assert world.gather() == []
        with world.core.lock:
            assert world.fence.leave(None, "the test says so") == [job]
    assert world.gather() == [job]
    assert job.kind is FailureKind.SUSPENDED
    assert world.gather() == []
    assert world.results() == {0: None}


def test_while_the_storage_cannot_be_read_results_come_as_they_are_known_here(clock: Clock) -> None:
    world = World(clock)
    (job,) = world.submit(1)
    clock.forward(TTL)
    world.storage.away = True
    world.report()
    assert world.gather() == [job]
    world.turns()  # raises nothing
    world.storage.away = False
    world.turns()
    assert world.results() == {0: 1.0}


@pytest.mark.parametrize("waits", [False, True])
def test_wherever_an_interrupt_strikes_each_claimed_job_is_waited_for(
    waits: bool, clock: Clock, handlers: None
) -> None:
    functions = (Fence.keep_ours, Fence.check, Fence._read, Fence._disown, Fence._await, Fence._anothers, Core.put_back)
    which, struck = 0, True
    while struck:
        world = World(clock, slots=1 if waits else 3)
        gathered: list[Any] = []
        world.submit(3)
        clock.forward(TTL)
        world.another_claims(1, 2)
        world.report_job(0)
        if not waits:
            world.report_job(1)
        with (
            interrupt_at(which, *functions, strike=lambda: signal.raise_signal(signal.SIGINT)) as line,
            contextlib.suppress(KeyboardInterrupt),
        ):
            gathered += world.gather_or_put_back()
        gathered += world.gather_or_put_back()
        assert world.engine.asked == [1 if waits else 2], line.struck
        assert world.fence.is_needed, line.struck
        assert set(world.fence.claimed) == {1, 2}, line.struck
        for number in (1, 2):
            world.another_finishes(number)
        world.report(failed(FailureKind.CANCELLED, "as asked"))
        for _ in range(2):
            world.turns()
            gathered += world.gather_or_put_back()
        assert {job.number: job.objective for job in gathered} == {0: 10.0, 1: 7.0, 2: 7.0}, line.struck
        assert len(gathered) == 3, line.struck
        struck = line.struck is not None
        which += 1
    assert which > 40


def test_our_jobs_are_no_foreign_jobs_whoever_finished_them(clock: Clock) -> None:
    world = World(clock)
    world.submit(1)
    other = World(clock, world.storage, world.search.search_id)
    other.submit(1)
    ours, theirs = world.storage.records(world.search.search_id)
    assert world.fence.is_ours(ours)
    assert not world.fence.is_ours(theirs)
    world.fence.take_up([other.engine.attempts[0].job])
    assert world.fence.is_ours(theirs)


@pytest.mark.parametrize("isolated", [False, True])
def test_a_start_is_kept_before_a_job_runs_that_may_end_the_program(isolated: bool, clock: Clock) -> None:
    world = World(clock, isolated=isolated)
    world.storage.raises_at_flush = OSError("the disk is full")
    world.fence.keep_start()  # the storage says it itself
    assert world.storage.flushes == (0 if isolated else 1)


def test_one_that_waits_in_the_callers_thread_is_not_kept_beyond_its_deadline(clock: Clock) -> None:
    world = World(clock)
    world.submit(1)
    clock.forward(TTL)
    world.another_claims(0)
    world.report()
    assert world.gather() == []
    world.fence.wait(world.core.inbox, 0.0)
    world.another_finishes(0)
    world.turns()
    world.fence.wait(world.core.inbox, None)
    assert numbers(world.gather()) == [0]
    assert world.core.inbox.waiting == []


def test_at_the_close_what_was_held_back_is_recorded_and_the_lease_is_given_up(clock: Clock) -> None:
    world = World(clock)
    world.submit(2)
    clock.forward(TTL)
    world.another_claims(1)
    world.report()
    world.report()  # the second one runs here, too, and is another's
    world.fence.close()
    assert world.results() == {0: 1.0, 1: None}
    assert numbers(world.written("finished")) == [0]
    assert world.written("lease")[-1].data["expires"] == 0.0
    leases = len(world.written("lease"))
    world.timers[0][1]()  # a timer that comes late renews nothing
    assert len(world.written("lease")) == leases
