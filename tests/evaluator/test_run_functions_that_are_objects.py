"""Run-functions that are objects of the user's classes, with attributes of their own."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from evalpool import Evaluator


class Licence:
    """It has a method that is called like one of a run-function of ours."""

    def release(self, number: int) -> None:
        raise AssertionError(number)

    def __call__(self, job: Any) -> float:
        return 1.0


class Strict:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __call__(self, job: Any) -> float:
        return 1.0


class StrictAsync(Strict):
    async def __call__(self, job: Any) -> float:  # type: ignore[override]
        return 1.0


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
@pytest.mark.parametrize("kind", [Licence, Strict, StrictAsync])
def test_an_objects_own_attributes_concern_nobody(
    kind: Any, method: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING), Evaluator.create(kind(), method) as evaluator:
        evaluator.submit([{"x": 1}])
        assert [job.error or job.objective for job in evaluator.gather()] == [1.0]
    assert (caplog.records, capfd.readouterr().err) == ([], "")
