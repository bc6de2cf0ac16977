"""What the parts of the evaluator's contract share: how an evaluator is made, and bounded waits."""

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
"""Seconds after which a wait in a test is a hang."""


def wait_until(condition: Callable[[], bool], bound: float = BOUND) -> None:
    """Wait for what another thread or process brings about and nobody notifies of."""
    pause = threading.Event()
    end = time.monotonic() + bound
    while not condition():
        assert time.monotonic() < end, f"did not happen within {bound} s"
        pause.wait(0.005)


class Bench:
    """Base of the parts of `EvaluatorContract`.

    Override `evaluator_class` or `backend_class`, and `evaluator_kwargs` or the fixture `make` where more than keyword
    arguments is needed. The other attributes say what an engine cannot do; each has its reason in the engine's
    documentation.
    """

    evaluator_class: ClassVar[Any]
    backend_class: ClassVar[type[Backend] | None] = None
    """In the place of `evaluator_class`: the engine; an evaluator class is made for it."""
    in_background: ClassVar[bool] = True
    """Work goes on while the caller does something else."""
    pickles: ClassVar[bool] = True
    """Configurations and results travel between processes."""
    survives_crashes: ClassVar[bool] = False
    """A worker that dies costs one job."""
    kills: ClassVar[bool] = False
    """A run-function that does not stop by itself can be stopped."""

    tells_exit_status: ClassVar[bool] = True
    """Of a worker that died it is known by which signal or with which exit code; Ray does not tell its drivers."""
    keeps_stderr: ClassVar[bool] = True
    """The end of what a worker that died wrote to its standard error is in the failure of its job."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        backend_class = vars(cls).get("backend_class")
        if backend_class is not None and "evaluator_class" not in vars(cls):
            cls.evaluator_class = backend_class.evaluator_class()

    def evaluator_kwargs(self) -> dict[str, Any]:
        """Arguments that every evaluator of this class is made with."""
        return {}

    @pytest.fixture
    def make(self) -> Iterator[Callable[..., Evaluator]]:
        """Make evaluators that are closed when the test ends."""
        made: list[Evaluator] = []

        def make(run_function: Any, **kwargs: Any) -> Evaluator:
            evaluator: Evaluator = self.evaluator_class(run_function, **{**self.evaluator_kwargs(), **kwargs})
            made.append(evaluator)
            return evaluator

        yield make
        for evaluator in made:
            evaluator.close()
