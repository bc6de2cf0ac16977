"""Code of the user raises errors that cannot be turned into text: the messages about them still come."""

from __future__ import annotations

from typing import Any

import pytest

from evalpool import BadArgument, Evaluator, FailureKind


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Unreadable:
    @property
    def __array__(self) -> Any:
        raise Silent


class Unpicklable:
    def __call__(self, job: Any) -> float:
        return 1.0

    def __reduce__(self) -> Any:
        raise Silent

    def __repr__(self) -> str:
        raise Silent


class Uncopyable:
    def __deepcopy__(self, memo: Any) -> Any:
        raise Silent


@pytest.mark.parametrize("method", ["serial", "process"])
def test_a_result_that_raises_when_it_is_read_is_invalid(method: str) -> None:
    def run(job: Any) -> Any:
        import numpy  # noqa: F401  only once it is imported, results may be arrays

        return Unreadable()

    with Evaluator.create(run, method) as evaluator:
        evaluator.submit([{"x": 1}])
        (job,) = evaluator.gather()
    assert job.kind is FailureKind.INVALID_OUTPUT
    assert "Silent: (its text could not be read: RuntimeError)" in (job.error or "")


def test_a_run_function_that_raises_when_it_is_pickled_is_unpicklable() -> None:
    with Evaluator.create(Unpicklable(), "process") as evaluator:
        evaluator.submit([{"x": 1}])
        (job,) = evaluator.gather()
    assert job.kind is FailureKind.UNPICKLABLE
    assert "<Unpicklable> or its run_function_kwargs" in (job.error or "")
    assert "Silent: (its text" in (job.error or "")


def test_a_configuration_that_raises_when_it_is_copied_is_a_bad_argument() -> None:
    with Evaluator.create(lambda job: 1.0, "serial") as evaluator:
        with pytest.raises(BadArgument, match=r"'x' cannot be copied \(Silent: \(its text could not be read"):
            evaluator.submit([{"x": [Uncopyable()]}])
