"""Every backend keeps the contract of `evalpool.testing.EvaluatorContract`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, ClassVar

import loky
import pytest

from evalpool import ExecutorEvaluator, ProcessPoolEvaluator, SerialEvaluator, ThreadPoolEvaluator
from evalpool.testing import EvaluatorContract


class TestSerial(EvaluatorContract):
    evaluator_class = SerialEvaluator
    in_background = False
    pickles = False


class TestThread(EvaluatorContract):
    evaluator_class = ThreadPoolEvaluator
    pickles = False


class TestProcess(EvaluatorContract):
    evaluator_class = ProcessPoolEvaluator
    survives_crashes = True
    kills = True


@pytest.fixture(scope="module")
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def loky_pool() -> Iterator[Executor]:
    executor = loky.ProcessPoolExecutor(4)
    yield executor
    executor.shutdown(wait=True, kill_workers=True)


class OnExecutor(EvaluatorContract):
    """The executor is the caller's; one serves all tests, as users do. It starts before what a test counts."""

    evaluator_class = ExecutorEvaluator
    pool: ClassVar[str]

    @pytest.fixture(autouse=True)
    def executor(self, request: pytest.FixtureRequest) -> None:
        self.used = request.getfixturevalue(self.pool)

    @pytest.fixture(autouse=True)
    def nothing_is_left_behind(self, executor: None) -> None:
        """The pool's own threads and processes stay; what evalpool starts beside it ends with `close`."""

    def evaluator_kwargs(self) -> dict[str, Any]:
        return {"executor": self.used}


class TestExecutorOfThreads(OnExecutor):
    pool = "threads"
    pickles = False


class TestExecutorOfProcesses(OnExecutor):
    pool = "processes"


class TestExecutorOfLoky(OnExecutor):
    pool = "loky_pool"


del OnExecutor
