"""The first failure of each sort is logged: a search whose every job fails says so."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from evalpool import Evaluator, RandomSearch, optimize
from evalpool.callbacks import LoggerCallback


def mistyped(job: Any) -> float:
    return float(job["X"])


def test_a_typo_in_the_run_function_is_told_once_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    with Evaluator.create(mistyped, "process", {"num_workers": 2}) as evaluator:
        optimize(evaluator, RandomSearch({"x": (0.0, 5.0)}, seed=0), max_evals=20)
    (record,) = [record for record in caplog.records if record.name == "evalpool"]
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert "failed: F_KeyError (KeyError: 'X', at test_first_failures.py:" in said
    assert " in mistyped)" in said


def test_each_sort_is_told_and_what_was_cancelled_is_none(caplog: pytest.LogCaptureFixture) -> None:
    def run(job: Any) -> Any:
        if job["x"] == 1:
            raise ValueError("one\x1b[31m")
        return "F_two\x1b[2J" if job["x"] == 2 else 0.0

    with Evaluator.create(run, "serial") as evaluator:
        evaluator.submit([{"x": x} for x in (1, 2, 1, 3, 2)])
        evaluator.gather()
        evaluator.submit([{"x": 3}])
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(" failed: ")[2].partition(" ")[0] for line in said] == ["F_ValueError", "F_two�[2J."]
    assert not any("\x1b" in line for line in said)


def test_a_long_text_is_told_by_its_beginning(caplog: pytest.LogCaptureFixture) -> None:
    with Evaluator.create(lambda job: "F_long" * 100_000, "serial") as evaluator:
        evaluator.submit([{}])
        (job,) = evaluator.gather()
    (record,) = caplog.records
    assert len(job.objective) == 600_000
    assert "F_longF_long" in record.getMessage()
    assert len(record.getMessage()) < 1000


def test_many_different_texts_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with Evaluator.create(lambda job: f"F_{job['x']}", "serial") as evaluator:
        evaluator.submit([{"x": x} for x in range(100)])
        evaluator.gather()
    assert len(caplog.records) == 20


def test_nothing_is_told_twice_where_a_callback_tells_it(caplog: pytest.LogCaptureFixture) -> None:
    with Evaluator.create(mistyped, "serial", {"callbacks": [LoggerCallback()]}) as evaluator:
        evaluator.submit([{"x": 1}])
        evaluator.gather()
    assert [record.getMessage() for record in caplog.records] == ["[1] Job 0.0 failed: F_KeyError (KeyError: 'X')"]
