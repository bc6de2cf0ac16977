"""The kernel and its oracle agree exactly, whatever is drawn and in whatever order real results arrive.

All times are dyadic fractions, so that sums are exact and equality means equality.
"""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.simulation._drive import drive
from evalpool.simulation._kernel import Kernel

from .drivers import Late, Queue, new_kernel, search
from .oracle import INF, ListSchedule, Planned, RankedSchedule, Row, Rules, replay

pytestmark = pytest.mark.slow

MAX_FIDELITY = 9

eighths = st.integers(0, 40).map(lambda n: n / 8)
heavy = st.integers(0, 1 << 20).map(lambda n: n / 8)
runtimes = st.one_of(st.just(0.0), eighths, eighths, heavy)
bad = st.sampled_from([None, -1.0, float("nan"), float("inf"), "3", True, object])
overheads = st.one_of(st.just(0.0), st.integers(0, 16).map(lambda n: n / 16))


@st.composite
def plan(draw: Any, continues: bool) -> Planned:
    runtime = draw(st.one_of(runtimes, runtimes, runtimes, runtimes, runtimes, bad))
    failed = draw(st.integers(0, 9)) == 0
    if not continues:
        return Planned(runtime, failed)
    fidelity = draw(st.integers(0, MAX_FIDELITY + 1))
    if isinstance(runtime, float) and 0 <= runtime < INF and draw(st.booleans()):
        runtime = runtime * fidelity  # as it mostly is: more epochs take longer
    return Planned(runtime, failed, draw(st.sampled_from("abc")), fidelity)


@st.composite
def drawn_rules(draw: Any, asks: bool) -> Rules:
    rules = Rules(
        draw(st.integers(1, 5)),
        max_fidelity=draw(st.sampled_from([None, MAX_FIDELITY])),
        failure_runtime=draw(st.sampled_from([0.0, 0.5])),
        job_timeout=draw(st.sampled_from([INF, INF, 1.0, 2.5])),
    )
    if asks:
        rules.sampling = draw(st.sampled_from(["serial", "parallel"]))
        rules.tell = draw(st.sampled_from(["asap", "asap", "warmup", "fill"]))
        rules.max_evals = draw(st.one_of(st.just(INF), st.integers(1, 20)))
        rules.max_time = draw(st.one_of(st.just(INF), st.integers(1, 64).map(lambda n: n / 4)))
        rules.max_submits = draw(st.integers(1, 24))
    return rules


def as_traced(row: Row) -> tuple[Any, ...]:
    return (row.number, row.worker, row.submit, row.start, row.end, row.charged, row.resumed, row.failed)


def traced(kernel: Kernel) -> list[tuple[Any, ...]]:
    return [(*row[:-1], row.status == "FAILED") for row in kernel.trace()]


@st.composite
def ranked_plan(draw: Any, continues: bool) -> Planned:
    """Up to three attempts of a job with a priority, or with a last chance."""
    planned = draw(plan(continues))
    planned.priority = draw(st.sampled_from([0, 0, 1, -1, 2]))
    planned.alone = draw(st.integers(0, 4)) == 0
    for runtime in draw(st.lists(runtimes, max_size=2)):
        planned = dataclasses.replace(planned, runtime=runtime, failed=False, then=planned)
    return planned


@st.composite
def queue_script(draw: Any, one: st.SearchStrategy[Planned]) -> list[tuple[str, Any]]:
    plans = st.lists(one, min_size=1, max_size=6)
    action = st.one_of(
        st.tuples(st.just("submit"), plans),
        st.tuples(st.just("submit"), plans),
        st.tuples(st.just("gather"), st.integers(1, 4)),
        st.tuples(st.just("gather"), st.just(0)),
        st.tuples(st.just("advance"), eighths),
    )
    return draw(st.lists(action, min_size=1, max_size=10))


@given(st.data(), st.integers(0, 1 << 16), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=150, deadline=None)
def test_a_queue_of_jobs_is_list_scheduled(data: st.DataObject, arrivals: int, eager: float) -> None:
    rules = data.draw(drawn_rules(asks=False))
    script = data.draw(queue_script(plan(rules.max_fidelity is not None)))
    queue = Queue(new_kernel(rules), Late(random.Random(arrivals), eager))
    oracle, seen = ListSchedule(rules), 0
    for action, value in [*script, ("all", None)]:
        if action == "submit":
            queue.submit(value)
            for planned in value:
                oracle.submit(planned)
        elif action == "advance":
            early = queue.advance(value)  # what ended while the search was thinking comes at once
            oracle.advance(value)
            assert early == [row.number for row in oracle.gather(0)]
            seen += len(early)
        else:
            outstanding = len(oracle.rows) - seen
            count = outstanding if action == "all" else min(value, outstanding)
            taken = queue.gather(count)
            assert taken == [row.number for row in oracle.gather(count)]
            seen += len(taken)
        assert queue.kernel.clock == oracle.clock
    assert traced(queue.kernel) == [as_traced(row) for row in oracle.rows]
    assert queue.kernel.num_completed == seen == len(oracle.rows)


@given(st.data(), st.integers(0, 1 << 16), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=150, deadline=None)
def test_a_queue_with_priorities_retries_and_last_chances_is_scheduled_as_the_oracle_does(
    data: st.DataObject, arrivals: int, eager: float
) -> None:
    rules = data.draw(drawn_rules(asks=False))
    script = data.draw(queue_script(ranked_plan(rules.max_fidelity is not None)))
    queue = Queue(new_kernel(rules), Late(random.Random(arrivals), eager))
    oracle, seen = RankedSchedule(rules), 0
    for action, value in [*script, ("all", None)]:
        if action == "submit":
            queue.submit(value)
            oracle.submit(value)
            continue
        if action == "advance":
            taken, expected = queue.advance(value), oracle.advance(value)
        else:
            outstanding = len(oracle.rows) - seen
            count = outstanding if action == "all" else min(value, outstanding)
            taken, expected = queue.gather(count), oracle.gather(count)
        assert taken == [row.number for row in expected]
        assert queue.kernel.clock == oracle.clock
        seen += len(taken)
    assert traced(queue.kernel) == [as_traced(row) for row in oracle.rows]
    assert queue.kernel.num_completed == seen == len(oracle.rows)


@given(st.data(), st.integers(0, 1 << 16), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=200, deadline=None)
def test_a_search_is_told_exactly_what_the_oracle_tells(data: st.DataObject, arrivals: int, eager: float) -> None:
    rules = data.draw(drawn_rules(asks=True))
    plans = data.draw(st.lists(plan(rules.max_fidelity is not None), min_size=24, max_size=24))
    thinking = data.draw(st.lists(overheads, min_size=24, max_size=24))
    kernel, told = search(new_kernel(rules), plans, thinking, Late(random.Random(arrivals), eager))
    rows, expected, over = replay(plans, thinking, rules)
    check_search(kernel, told, rows, expected, over)


def check_search(kernel: Kernel, told: list[int], rows: list[Row], expected: list[int], over: str) -> None:
    assert told == expected
    assert kernel.over == over
    trace = kernel.trace()
    assert [row.job for row in trace] == list(range(len(rows)))
    left_over = {"max_time": "CENSORED", "max_evals": "DROPPED"}
    for row, right in zip(trace, rows, strict=True):
        assert (row.worker, row.submit, row.start) == (right.worker, right.submit, right.start)
        if right.told:
            assert row.status == ("FAILED" if right.failed else "DONE")
            assert (row.end, row.charged, row.resumed) == (right.end, right.charged, right.resumed)
            assert kernel.end_of(row.job) == right.end
        else:
            assert row.status == left_over[over]
            assert (row.end, row.charged) == (None, None)


@given(st.data(), st.integers(0, 1 << 16), st.sampled_from([0.0, 0.5]))
@settings(max_examples=80, deadline=None)
def test_a_kernel_restored_at_any_moment_goes_on_as_the_first(data: st.DataObject, arrivals: int, eager: float) -> None:
    rules = data.draw(drawn_rules(asks=True))
    plans = data.draw(st.lists(plan(rules.max_fidelity is not None), min_size=24, max_size=24))
    thinking = data.draw(st.lists(overheads, min_size=24, max_size=24))

    def through_json(kernel: Kernel) -> Kernel:
        return Kernel.restore(json.loads(json.dumps(kernel.state())))

    first, told = search(new_kernel(rules), plans, thinking, Late(random.Random(arrivals), eager))
    again, told_again = search(
        new_kernel(rules), plans, thinking, Late(random.Random(arrivals), eager), each=through_json
    )
    assert told_again == told
    assert again.trace() == first.trace()
    assert again.trace_digest() == first.trace_digest()
    assert again.state() == first.state()


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_the_fast_loop_does_what_the_single_steps_do(data: st.DataObject) -> None:
    rules = data.draw(drawn_rules(asks=True))
    rules.max_fidelity, rules.job_timeout = None, INF
    plans = data.draw(st.lists(plan(False), min_size=24, max_size=24))
    for planned in plans:
        planned.failed = False
    thinking = data.draw(st.lists(overheads, min_size=24, max_size=24))
    asked, told = iter(range(24)), []
    kernel = new_kernel(rules)
    drive(
        kernel,
        lambda: next(asked),
        lambda number: {"runtime": plans[number].runtime},
        lambda job, number, results: told.append(number),
        overhead=lambda n_asked, n_told: thinking[n_asked],
    )
    check_search(kernel, told, *replay(plans, thinking, rules))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_makespan_is_at_least_the_longest_job_and_the_work_shared_out(data: st.DataObject) -> None:
    workers = data.draw(st.integers(1, 6))
    work = data.draw(st.lists(runtimes, min_size=1, max_size=30))
    queue = Queue(Kernel(workers), Late(random.Random(0), 1.0))
    queue.submit([Planned(seconds) for seconds in work])
    assert sorted(queue.gather(len(work))) == list(range(len(work)))
    makespan = queue.kernel.clock
    assert makespan >= max(work)
    assert makespan * workers >= sum(work)
    assert makespan <= sum(work)
