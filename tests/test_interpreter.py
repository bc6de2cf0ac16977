"""Which interpreter runs the processes that a program starts."""

from __future__ import annotations

import sys

import pytest

from evalpool import Evaluator
from evalpool.errors import BackendError


@pytest.mark.parametrize("unknown", [None, ""])
def test_a_python_that_does_not_know_its_interpreter_is_refused_with_advice(
    monkeypatch: pytest.MonkeyPatch, unknown: str | None
) -> None:
    monkeypatch.setattr(sys, "executable", unknown)
    with pytest.raises(BackendError, match=f"sys.executable is {unknown!r}.*use the backend serial or thread"):
        Evaluator.create(len, "process", {"num_workers": 1})
    with Evaluator.create(lambda job: job["x"], "thread", {"num_workers": 1}) as evaluator:
        evaluator.submit([{"x": 1}])
        assert evaluator.gather("ALL")[0].objective == 1
