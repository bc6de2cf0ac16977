"""Whole numbers as objectives: as large as Python prints them, and no larger."""

from __future__ import annotations

from typing import Any

import pytest

from evalpool import Evaluator, FailureKind


def objective_of(value: Any) -> Any:
    with Evaluator.create(lambda job: value, "serial") as evaluator:
        evaluator.submit([{"x": 1}])
        (job,) = evaluator.gather()
    assert repr(job)
    return job


@pytest.mark.parametrize(
    "value", [10**400, 10**4300 - 1, -(10**4300) + 1, (10**400, 1)], ids=["usual", "largest", "smallest", "in a tuple"]
)
def test_a_whole_number_that_python_prints_is_an_objective(value: Any) -> None:
    assert objective_of(value).objective == value


@pytest.mark.parametrize(
    "value",
    [10**5000, -(10**5000), (1, 10**5000), {"objective": 10**5000}],
    ids=["plus", "minus", "in a tuple", "in a dict"],
)
def test_a_larger_whole_number_is_an_invalid_output(value: Any) -> None:
    job = objective_of(value)
    assert job.kind is FailureKind.INVALID_OUTPUT
    assert "a whole number of about 5,000 digits" in (job.error or "")
