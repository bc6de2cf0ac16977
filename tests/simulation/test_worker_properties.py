"""Workers that start, crash and are taken away: the kernel and its oracle agree exactly, whatever is drawn."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.simulation import Distribution, WorkerModel
from evalpool.simulation._kernel import ASK, NOTHING, RETRIED, UP, WAIT, Kernel
from evalpool.simulation._losses import lost

from .drivers import new_kernel
from .oracle import INF, Mortals, Planned, Row, Rules, mortal_queue, mortal_search

pytestmark = pytest.mark.slow

seconds = st.one_of(st.just(0.0), st.integers(0, 40).map(lambda n: n / 8))
longer = st.integers(1, 80).map(lambda n: n / 8)
plans = st.builds(Planned, st.one_of(seconds, seconds, seconds, st.just(None)), st.integers(0, 9).map(lambda n: n == 0))


@st.composite
def models(draw: Any) -> WorkerModel:
    """Draws are eighths, so that many things happen at the same time."""

    def drawn(one: st.SearchStrategy[float]) -> Distribution:
        return Distribution.measured(draw(st.lists(one, min_size=1, max_size=4)), draw(st.integers(0, 3)))

    taken = draw(st.booleans())
    return WorkerModel(
        start_delay=draw(st.sampled_from([None, drawn(seconds)])),
        crash=draw(st.sampled_from([0.0, 0.25, 0.75])),
        crash_seed=draw(st.integers(0, 3)),
        preempted_after=drawn(longer) if taken else None,
        away=drawn(seconds) if taken and draw(st.booleans()) else None,
    )


class Driver:
    """Calls the kernel as the faces do; real results arrive late and in any order, and what is lost is run again."""

    def __init__(self, kernel: Kernel, retries: int, arrivals: random.Random, eager: float) -> None:
        self.kernel = kernel
        self._retries, self._arrivals, self._eager = retries, arrivals, eager
        self._plans: list[Planned] = []
        self._lost: dict[int, int] = {}
        self._waiting: list[int] = []

    def run(self, job: int) -> None:
        self._waiting.append(job)
        while self._waiting and self._arrivals.random() < self._eager:
            self._deliver()

    def _deliver(self) -> None:
        assert self._waiting, "the kernel waits for a result, but every one was delivered"
        job = self._waiting.pop(self._arrivals.randrange(len(self._waiting)))
        plan = self._plans[job]
        is_lost = lost(self.kernel, job, plan.runtime) is not None
        self._lost[job] = self._lost.get(job, 0) + is_lost
        again = is_lost and self._lost[job] <= self._retries
        self.kernel.finish(job, plan.runtime, failed=plan.failed or is_lost, retry=again)

    def _start_all(self) -> None:
        while (job := self.kernel.startable()) != NOTHING:
            if job == WAIT:
                self._deliver()
                continue
            self.kernel.start()
            self.run(job)

    def _happened(self, answer: int, told: list[int]) -> None:
        if answer == WAIT:
            self._deliver()
            return
        if answer >= 0:
            told.append(answer)
        else:
            assert answer in (RETRIED, UP)
        self._start_all()

    def queue(self, script: list[tuple[float, list[Planned]]]) -> list[int]:
        """Submit at given times; wait for all."""
        told: list[int] = []
        for at, plans in [*script, (INF, [])]:
            while (answer := self.kernel.step(at)) != NOTHING:
                self._happened(answer, told)
            if at < INF:
                self.kernel.advance(at)
            for plan in plans:
                self._plans.append(plan)
                self.kernel.submit()
            self._start_all()
        return told

    def search(self, plans: list[Planned], overheads: list[float], stored: random.Random) -> list[int]:
        """Ask and tell; the kernel is stored and restored at any moment."""
        self._plans = plans
        told: list[int] = []
        while (answer := self.kernel.poll()) != NOTHING:
            if answer == ASK:
                self.run(self.kernel.ask(overheads[self.kernel.num_submitted]))
            else:
                self._happened(answer, told)
            if stored.random() < 0.1:
                self.kernel = Kernel.restore(json.loads(json.dumps(self.kernel.state())))
        return told


def expected(row: Row) -> tuple[Any, ...]:
    return (row.number, row.worker, row.start, row.charged, row.failed)


def kernel_of(rules: Rules, model: WorkerModel) -> Kernel:
    return Kernel(**{**new_kernel(rules)._settings, "worker_model": model})


@given(st.data(), models(), st.integers(0, 2), st.integers(0, 1 << 16), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=200, deadline=None)
def test_a_queue_on_workers_that_fail_is_scheduled_as_the_oracle_does(
    data: st.DataObject, model: WorkerModel, retries: int, arrivals: int, eager: float
) -> None:
    rules = Rules(
        data.draw(st.integers(1, 4)),
        failure_runtime=data.draw(st.sampled_from([0.0, 0.5])),
        job_timeout=data.draw(st.sampled_from([INF, INF, 2.5])),
    )
    times = sorted(data.draw(st.lists(seconds, min_size=1, max_size=4)))
    script = [(at, data.draw(st.lists(plans, min_size=1, max_size=6))) for at in times]
    driver = Driver(kernel_of(rules, model), retries, random.Random(arrivals), eager)
    told = driver.queue(script)
    rows, done = mortal_queue(script, Mortals(rules, model, retries))
    assert told == done
    assert [(row.job, row.worker, row.start, row.charged, row.status == "FAILED") for row in driver.kernel.trace()] == [
        expected(row) for row in rows
    ]


@given(st.data(), models(), st.integers(0, 2), st.integers(0, 1 << 16), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=300, deadline=None)
def test_a_search_on_workers_that_fail_is_scheduled_as_the_oracle_does(
    data: st.DataObject, model: WorkerModel, retries: int, arrivals: int, eager: float
) -> None:
    rules = Rules(
        data.draw(st.integers(1, 4)),
        sampling=data.draw(st.sampled_from(["serial", "parallel"])),
        max_evals=data.draw(st.one_of(st.just(INF), st.integers(1, 20))),
        max_time=data.draw(st.one_of(st.just(INF), st.integers(1, 64).map(lambda n: n / 4))),
        max_submits=data.draw(st.integers(1, 20)),
    )
    count = int(rules.max_submits)
    drawn = data.draw(st.lists(plans, min_size=count, max_size=count))
    overheads = [data.draw(st.sampled_from([0.0, 0.0, 0.25, 3.0])) for _ in range(count)]
    driver = Driver(kernel_of(rules, model), retries, random.Random(arrivals), eager)
    told = driver.search(drawn, overheads, random.Random(arrivals))
    rows, known, over = mortal_search(drawn, overheads, Mortals(rules, model, retries))
    assert (told, driver.kernel.over) == (known, over)
    trace = driver.kernel.trace()
    assert [row.job for row in trace] == [row.number for row in rows]
    assert [(row.worker, row.start) for row in trace if row.start is not None] == [
        (row.worker, row.start) for row in rows if row.worker >= 0
    ]
    assert [expected(rows[job]) for job in told] == [
        (row.job, row.worker, row.start, row.charged, row.status == "FAILED") for row in map(trace.__getitem__, told)
    ]
