"""`simulate` and the oracle agree exactly, in this thread and through an evaluator. Times are dyadic fractions."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.simulation import SimulationResult

from .oracle import INF, ListSchedule, Planned, Row, Rules, replay
from .searches import runs
from .test_kernel_properties import MAX_FIDELITY, drawn_rules, eighths, overheads, plan

pytestmark = pytest.mark.slow


def limits(rules: Rules) -> dict[str, Any]:
    given_limits = {"max_evals": rules.max_evals, "max_submits": rules.max_submits, "max_time": rules.max_time}
    return {name: value for name, value in given_limits.items() if value != INF}


def drawn_search(data: st.DataObject) -> tuple[Rules, list[Planned], list[float], dict[str, Any]]:
    rules = data.draw(drawn_rules(asks=True))
    rules.failure_runtime, rules.job_timeout = 0.0, INF
    if rules.max_evals != INF:
        rules.max_submits = max(rules.max_submits, rules.max_evals)
    plans = data.draw(st.lists(plan(rules.max_fidelity is not None), min_size=24, max_size=24))
    thinking = data.draw(st.one_of(st.none(), st.lists(overheads, min_size=24, max_size=24)))
    told = {
        "num_workers": rules.workers,
        "sampling": rules.sampling,
        "tell": rules.tell,
        "overhead": "none" if thinking is None else (lambda asked, told: thinking[asked]),
        **limits(rules),
    }
    if rules.max_fidelity is not None:
        told |= {"continual_max_fidel": MAX_FIDELITY, "fidel_key": "epochs"}
    return rules, plans, thinking or [0.0] * 24, told


def check(result: SimulationResult, rows: list[Row], told: list[int], over: str, thinking: list[float]) -> None:
    assert result.over == over
    assert [row["job"] for row in result.completions] == told
    assert result.not_reported == [row.number for row in rows if not row.told]
    assert result.makespan == (rows[told[-1]].end if told else 0.0)
    assert [row["job"] for row in result.trace] == list(range(len(rows)))
    left_over = {"max_time": "CENSORED", "max_evals": "DROPPED"}
    for row, right in zip(result.trace, rows, strict=True):
        assert (row["worker"], row["start"]) == (right.worker, right.start)
        assert row["ask_start"] + thinking[right.number] == right.submit
        if right.told:
            assert row["status"] == ("FAILED" if right.failed else "DONE")
            assert (row["end"], row["charged"], row["resumed_from"]) == (right.end, right.charged, right.resumed)
        else:
            assert row["status"] == left_over[over]
            assert (row["end"], row["charged"]) == (None, None)
    told_before = [job for row in result.trace for job in row["told_before"]]
    assert told_before == told[: len(told_before)]


@given(st.data(), st.sampled_from([None, None, "serial"]), st.sampled_from(["fidels", "dict"]))
@settings(max_examples=200, deadline=None)
def test_a_search_goes_as_the_oracle_says(data: st.DataObject, evaluator: str | None, form: str) -> None:
    rules, plans, thinking, given_settings = drawn_search(data)
    result, optimizer = runs(plans, evaluator=evaluator, form=form, **given_settings)
    rows, told, over = replay(plans, thinking, rules)
    check(result, rows, told, over, thinking)
    assert optimizer.known == list(itertools.accumulate(len(row["told_before"]) for row in result.trace))
    failed = [row.failed for row in (rows[job] for job in told)]
    assert [isinstance(objective, str) for objective in result.objectives] == failed
    assert [results["runtime"] for _, results, _, _ in optimizer.told] == [rows[job].charged for job in told]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_an_evaluator_changes_nothing(data: st.DataObject) -> None:
    _, plans, _, given_settings = drawn_search(data)
    alone, _ = runs(plans, **given_settings)
    beside, _ = runs(plans, evaluator="serial", **given_settings)
    assert beside.trace == alone.trace
    assert beside.trace_digest() == alone.trace_digest()
    assert (beside.objectives, beside.makespan, beside.over) == (alone.objectives, alone.makespan, alone.over)


@given(st.data(), st.sampled_from([None, "serial"]))
@settings(max_examples=80, deadline=None)
def test_batches_are_list_scheduled_between_barriers(data: st.DataObject, evaluator: str | None) -> None:
    rules = Rules(data.draw(st.integers(1, 5)), max_fidelity=data.draw(st.sampled_from([None, MAX_FIDELITY])))
    size, count = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 20))
    plans = data.draw(st.lists(plan(rules.max_fidelity is not None), min_size=count, max_size=count))
    thinking = data.draw(eighths)
    name = data.draw(st.sampled_from(["max_evals", "max_submits"]))
    given_settings: dict[str, Any] = {name: count}
    if rules.max_fidelity is not None:
        given_settings |= {"continual_max_fidel": MAX_FIDELITY, "fidel_key": "epochs"}
    result, optimizer = runs(
        plans, num_workers=rules.workers, batch_size=size, overhead=thinking, evaluator=evaluator, **given_settings
    )
    oracle, told, asked = ListSchedule(rules), [], []
    for first in range(0, count, size):
        batch = plans[first : first + size]
        asked += [oracle.clock] * len(batch)
        oracle.advance(thinking)
        for planned in batch:
            oracle.submit(planned)
        told += [row.number for row in oracle.gather(len(batch))]
    assert result.over == name
    assert [row["job"] for row in result.completions] == told
    assert [row["ask_start"] for row in result.trace] == asked
    for row, right in zip(result.trace, oracle.rows, strict=True):
        facts = (right.worker, right.start, right.end, right.charged, right.resumed)
        assert tuple(row[key] for key in ("worker", "start", "end", "charged", "resumed_from")) == facts
    assert optimizer.known == [size * (number // size) for number in range(count)], "nothing is told within a batch"
