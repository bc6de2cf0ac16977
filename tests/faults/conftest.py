"""Programs that a test starts and that are gone when it ends; evaluators that are closed then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator
from faults.programs import Program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start a program; see `Program`."""
    started: list[Program] = []

    def start(source: str, *arguments: object, **options: Any) -> Program:
        folder = tmp_path / f"program-{len(started)}"
        folder.mkdir()
        started.append(Program(source, folder, *arguments, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def make() -> Iterator[Callable[..., Evaluator]]:
    """Make an evaluator by its method's name; closed when the test ends."""
    made: list[Evaluator] = []

    def make(run_function: Any, method: str = "process", **kwargs: Any) -> Evaluator:
        made.append(Evaluator.create(run_function, method, kwargs))
        return made[-1]

    yield make
    for evaluator in made:
        evaluator.close()
