"""Helpers that all parts of `EvaluatorContract` share: how an evaluator is made, and bounded waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from evalpool.evaluator import Evaluator
from evalpool.evaluator._backend import Backend

__all__ = ["BOUND", "Bench", "wait_until"]

BOUND = 30.0
"""Seconds after which a wait in a test counts as a hang."""


def wait_until(condition: Callable[[], bool], bound: float = BOUND) -> None:
    """Wait until the condition is true, where another thread or process makes it true without a notification."""
    pause = threading.Event()
    end = time.monotonic() + bound
    while not condition():
        assert time.monotonic() < end, f"did not happen within {bound} s"
        pause.wait(0.005)


class Bench:
    """Base of the parts of `EvaluatorContract`.

    Override `evaluator_class` or `backend_class`, and `evaluator_kwargs`, or the fixture `make` if more than keyword
    arguments are needed. The other attributes say what an engine can do. Where it cannot, its documentation gives the
    reason, and the tests are skipped.
    """

    evaluator_class: ClassVar[Any]
    backend_class: ClassVar[type[Backend] | None] = None
    """The engine, instead of `evaluator_class`: an evaluator class is made for it."""
    in_background: ClassVar[bool] = True
    """Whether jobs run while the caller does something else."""
    pickles: ClassVar[bool] = True
    """Whether configurations and results are pickled, to be sent between processes."""
    survives_crashes: ClassVar[bool] = False
    """Whether a worker that dies costs only one job."""
    kills: ClassVar[bool] = False
    """Whether a run-function that does not stop by itself can be stopped by force."""

    tells_exit_status: ClassVar[bool] = True
    """Whether the error of a job says by which signal or with which exit code its worker died. Ray does not know it."""
    keeps_stderr: ClassVar[bool] = True
    """Whether the error of a job has the end of what its worker, which died, wrote to its standard error."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        backend_class = vars(cls).get("backend_class")
        if backend_class is not None and "evaluator_class" not in vars(cls):
            cls.evaluator_class = backend_class.evaluator_class()

    def evaluator_kwargs(self) -> dict[str, Any]:
        """Return the arguments with which every evaluator of this class is made."""
        return {}

    @pytest.fixture
    def make(self) -> Iterator[Callable[..., Evaluator]]:
        """Return a function that makes evaluators; they are closed when the test ends."""
        made: list[Evaluator] = []

        def make(run_function: Any, **kwargs: Any) -> Evaluator:
            evaluator: Evaluator = self.evaluator_class(run_function, **{**self.evaluator_kwargs(), **kwargs})
            made.append(evaluator)
            return evaluator

        yield make
        for evaluator in made:
            evaluator.close()
