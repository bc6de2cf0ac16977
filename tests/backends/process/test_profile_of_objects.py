"""What `profile` measures is what it was asked for, whatever attributes the run-function has."""

from __future__ import annotations

from typing import Any

import pytest

from evalpool import RunningJob, profile

pytestmark = pytest.mark.slow


class Model:
    """A run-function that is an object, with attributes of its own."""

    def __init__(self) -> None:
        self._function, self._memory, self._limit, self._lock = "rbf", False, 3, None

    def __call__(self, job: Any) -> Any:
        return self._function


def measured(function: Any) -> Any:
    profiled = profile(memory=True)(function)
    try:
        return profiled(RunningJob(parameters={}))
    finally:
        profiled._evalpool_release()


def test_an_object_may_have_any_attributes() -> None:
    result = measured(Model())
    assert result["output"] == "rbf"
    assert result["metadata"]["memory"] > 0


def test_a_profiled_function_can_be_profiled_again() -> None:
    assert measured(profile(Model()))["metadata"]["memory"] > 0
