"""Callers that are the workers: the kernel agrees with a model in which everybody answers at once.

The model has no thinking, running or waiting in real time; the kernel sees calls and results in any order.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.simulation._kernel import NOTHING, WAIT
from evalpool.simulation._turns import CallerKernel

from .oracle import INF, Planned, Row, Rules, execute
from .test_kernel_properties import MAX_FIDELITY, overheads, plan


@dataclass
class Model:
    """Every caller has its own list of plans and overheads, and brings one after the other."""

    rules: Rules
    plans: list[list[Planned]]
    overheads: list[list[float]]
    rows: list[Row] = field(default_factory=list)
    completions: list[Row] = field(default_factory=list)

    def run(self) -> list[Row]:
        rules = self.rules
        thinking = [(0.0, worker) for worker in range(rules.workers)]  # in the order in which they became idle
        calls = [0] * rules.workers
        number, decided = rules.workers, 0.0
        waiting: list[Row] = []
        names = {worker: worker for worker in range(rules.workers)}
        while True:
            for since, worker in thinking:
                if since >= rules.max_time or calls[worker] == len(self.plans[worker]):
                    continue
                overhead = self.overheads[worker][calls[worker]]
                at = max(since, decided) if rules.sampling == "serial" else since
                decided = at + overhead
                row = Row(names[worker], self.plans[worker][calls[worker]], decided, decided, worker, begun=False)
                if rules.max_fidelity is None:
                    row.begun = True
                    execute(row, [], rules)
                calls[worker] += 1
                self.rows.append(row)
                waiting.append(row)
            thinking = []
            events = [(row.end if row.begun else row.start, row.worker, row) for row in waiting]
            if not events or min(events)[0] > rules.max_time:
                return self.completions
            row = min(events)[2]
            if not row.begun:
                row.begun = True
                execute(row, self.rows, rules)
                continue
            waiting.remove(row)
            self.completions.append(row)
            if len(self.completions) >= rules.max_evals:
                return self.completions
            names[row.worker] = number
            number += 1
            thinking = [(row.end, row.worker)]


class Racing:
    """Callers of whom now this one is faster, now that one."""

    def __init__(
        self,
        rules: Rules,
        plans: list[list[Planned]],
        thinking: list[list[float]],
        rng: random.Random,
        *,
        shortly: bool = False,
    ) -> None:
        self.kernel = CallerKernel(
            rules.workers,
            sampling=rules.sampling,
            continual_max_fidel=rules.max_fidelity,
            max_evals=None if rules.max_evals == INF else int(rules.max_evals),
            max_time=None if rules.max_time == INF else rules.max_time,
        )
        self.rng, self.plans, self.overheads = rng, plans, thinking
        self.calls = [0] * rules.workers
        self.thinking = {worker: self.kernel.turn(worker) for worker in range(rules.workers)}
        self.called: dict[int, Planned] = {}  # held until it is their turn
        self.to_claim: dict[int, Planned] = {}
        self.running: dict[int, Planned] = {}
        self.completions: list[int] = []
        self.shortly = shortly
        self.exchanged = 0

    def run(self) -> list[int]:
        while True:
            self.pump()
            actions = [self.call] * len(self.thinking) + [self.deliver] * len(self.running)
            if self.kernel.over or not actions:
                return self.completions
            self.rng.choice(actions)()
            self.kernel = CallerKernel.restore(json.loads(json.dumps(self.kernel.state())))

    def call(self) -> None:
        worker = self.rng.choice(list(self.thinking))
        job = self.thinking.pop(worker)
        if self.calls[worker] == len(self.plans[worker]):
            self.kernel.cancel(job)  # it leaves
            return
        planned = self.plans[worker][self.calls[worker]]
        if not (self.shortly and self.exchange(job, worker, planned)):
            self.called[job] = planned

    def exchange(self, job: int, worker: int, planned: Planned) -> bool:
        if planned.failed or not isinstance(planned.runtime, float):
            return False  # the coordinator knows these, and does not try
        state = self.kernel.state()
        exchanged = self.kernel.exchange(job, self.overheads[worker][self.calls[worker]], planned.runtime)
        if exchanged is None:
            assert self.kernel.state() == state
            return False
        self.calls[worker] += 1
        _, _, released, turn = exchanged
        self.completions.append(released)
        self.thinking[self.kernel.worker_of(turn)] = turn
        self.exchanged += 1
        return True

    def deliver(self) -> None:
        job = self.rng.choice(list(self.running))
        planned = self.running.pop(job)
        self.kernel.finish(job, planned.runtime, failed=planned.failed, seed=job)

    def pump(self) -> None:
        kernel = self.kernel
        moved = True
        while moved:
            moved = False
            while (job := kernel.next_turn(self.called)) != NOTHING:
                planned, worker = self.called.pop(job), kernel.worker_of(job)
                kernel.place(job, self.overheads[worker][self.calls[worker]])
                self.calls[worker] += 1
                (self.running if kernel.max_fidelity is None else self.to_claim)[job] = planned
                moved = True
            if (job := kernel.claimable()) in self.to_claim and not kernel.is_censored(job):
                planned = self.running[job] = self.to_claim.pop(job)
                assert planned.key is not None
                assert planned.fidelity is not None
                kernel.claim(job, planned.key, planned.fidelity)
                moved = True
            while (job := kernel.release()) >= 0:
                self.completions.append(job)
                worker = kernel.worker_of(job)
                turn = kernel.turn(worker)
                if turn != NOTHING:
                    self.thinking[worker] = turn
                moved = True
            assert job in (WAIT, NOTHING)


@pytest.mark.slow
@given(st.data(), st.integers(0, 1 << 16))
@settings(max_examples=150, deadline=None)
def test_completions_do_not_depend_on_which_caller_is_faster(data: st.DataObject, seed: int) -> None:
    rules = Rules(data.draw(st.integers(1, 4)))
    rules.sampling = data.draw(st.sampled_from(["serial", "parallel"]))
    rules.max_fidelity = data.draw(st.sampled_from([None, MAX_FIDELITY]))
    rules.max_evals = data.draw(st.one_of(st.just(INF), st.integers(1, 12)))
    rules.max_time = data.draw(st.one_of(st.just(INF), st.integers(1, 40).map(lambda n: n / 4)))
    each = st.lists(plan(rules.max_fidelity is not None), min_size=5, max_size=5)
    plans = data.draw(st.lists(each, min_size=rules.workers, max_size=rules.workers))
    thoughts = st.lists(overheads, min_size=5, max_size=5)
    thinking = data.draw(st.lists(thoughts, min_size=rules.workers, max_size=rules.workers))
    model = Model(rules, plans, thinking)
    expected = model.run()
    racing = Racing(rules, plans, thinking, random.Random(seed), shortly=data.draw(st.booleans()))
    assert racing.run() == [row.number for row in expected]
    traced = {row.job: row for row in racing.kernel.trace()}
    for row in expected:
        assert traced[row.number][1:7] == (row.worker, row.submit, row.start, row.end, row.charged, row.resumed)


@pytest.mark.parametrize("sampling", ["serial", "parallel"])
def test_nearly_all_calls_take_the_short_way(sampling: str) -> None:
    rng = random.Random(3)
    plans = [[Planned(rng.randrange(8) / 4) for _ in range(50)] for _ in range(4)]
    thinking = [[rng.randrange(3) / 8 for _ in range(50)] for _ in range(4)]
    rules = Rules(4, sampling=sampling, max_evals=150)
    racings = [Racing(rules, plans, thinking, random.Random(0), shortly=shortly) for shortly in (False, True)]
    step_by_step, shortly = (racing.run() for racing in racings)
    assert shortly == step_by_step
    assert racings[1].kernel.trace_digest() == racings[0].kernel.trace_digest()
    assert racings[1].exchanged >= 140


def test_equal_ends_of_different_callers_are_ordered_by_worker() -> None:
    # worker-0: |0: 1-|2: 2---|      ends at 3
    # worker-1: |1: 2---|3: 1-|      ends at 3, called first
    kernel = CallerKernel(2)
    jobs = [kernel.turn(0), kernel.turn(1)]
    for job, runtime in zip(jobs, (1.0, 2.0), strict=True):
        assert kernel.next_turn([job]) == job
        kernel.place(job, 0.0)
        kernel.finish(job, runtime)
    assert kernel.release() == 0
    two = kernel.turn(0)
    assert kernel.release() == WAIT, "worker 0 may come back at once"
    kernel.place(two, 0.0)
    assert kernel.release() == WAIT, "its job may end before 2"
    kernel.finish(two, 2.0)
    assert kernel.release() == 1
    three = kernel.turn(1)
    kernel.place(three, 0.0)
    kernel.finish(three, 1.0)
    assert [kernel.release(), kernel.release()] == [two, three]


def test_a_caller_that_leaves_holds_nobody_up_and_its_place_can_be_taken() -> None:
    kernel = CallerKernel(2, sampling="parallel")
    zero, one = kernel.turn(0), kernel.turn(1)
    kernel.place(one, 0.0)
    kernel.finish(one, 2.0)
    assert kernel.release() == WAIT
    kernel.cancel(zero)
    assert kernel.release() == one
    late = kernel.arrive(0)
    assert kernel.place(late, 0.5) == (2.0, 2.5), "idle from the clock on"
    assert [row.job for row in kernel.trace()] == [one, late], "a turn is no job"


def test_a_job_whose_caller_died_is_lost() -> None:
    kernel = CallerKernel(1)
    job = kernel.turn(0)
    kernel.place(job, 0.0)
    kernel.cancel(job)
    assert kernel.release() == NOTHING
    assert kernel.over is None
    assert [(row.start, row.end, row.status) for row in kernel.trace()] == [(0.0, None, "LOST")]


def test_who_thinks_on_in_real_time_lets_others_pass_and_starts_after_them() -> None:
    kernel = CallerKernel(2, sampling="parallel")
    zero, one = kernel.turn(0), kernel.turn(1)
    kernel.place(one, 0.0)
    kernel.finish(one, 2.0)
    assert kernel.release() == WAIT
    assert kernel.blocker() == (2.0, zero)
    kernel.defer(zero, 2.5)
    assert kernel.release() == one
    assert kernel.place(zero, 1.5) == (0.0, 2.0), "never before what has been released"


def test_no_turn_begins_at_the_end_of_time() -> None:
    kernel = CallerKernel(1, max_time=2.0)
    job = kernel.turn(0)
    kernel.place(job, 0.0)
    kernel.finish(job, 2.0)
    assert not kernel.is_censored(job)
    assert kernel.release() == job
    assert kernel.turn(0) == NOTHING


def test_a_job_that_ends_too_late_is_known_to() -> None:
    kernel = CallerKernel(2, sampling="parallel", max_time=2.0)
    zero, one = kernel.turn(0), kernel.turn(1)
    kernel.place(zero, 2.5)
    assert kernel.is_censored(zero), "it starts too late already"
    kernel.place(one, 0.0)
    kernel.finish(one, 2.25)
    assert kernel.is_censored(one)
    assert kernel.release() == NOTHING
    assert kernel.over == "max_time"
    with pytest.raises(KeyError):
        kernel.defer(one, 3.0)
