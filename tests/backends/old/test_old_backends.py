"""Subclasses of `Evaluator` with hooks, the form that backends had before, go on working, and say what to read."""

from __future__ import annotations

import importlib
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, FailureKind, Job, SerialEvaluator, ThreadPoolEvaluator, queued, simulated
from evalpool.evaluator._old_backends import OldForm
from evalpool.testing._lifecycle import LifeCycle
from evalpool.testing._stopping import Stopping

HERE = str(Path(__file__).parent)


def old(name: str) -> Any:
    """The module of one, whose class warns when it is made."""
    sys.path.insert(0, HERE)
    try:
        sys.modules.pop(name, None)
        with pytest.warns(DeprecationWarning, match=r"writing-a-backend\.md") as told:
            module = importlib.import_module(name)
        assert [Path(each.filename).stem for each in told] == [name]  # the line that is to be changed
        return module
    finally:
        sys.path.remove(HERE)


class TestOldThreads(LifeCycle, Stopping):
    """The block of the page as it was."""

    pickles = False

    @pytest.fixture(autouse=True)
    def of_the_old_form(self) -> None:
        type(self).evaluator_class = old("old_thread_per_job").ThreadPerJobEvaluator


@pytest.fixture
def example() -> Iterator[Any]:
    yield old("old_fresh_interpreters")
    sys.modules.pop("old_fresh_interpreters", None)


@pytest.mark.slow
def test_the_example_as_it_was_prints_what_it_printed(example: Any, capfd: pytest.CaptureFixture[str]) -> None:
    example.main()
    assert capfd.readouterr().out.splitlines() == [
        "x = 0: 0",
        "x = 1: 1",
        "x = 2: F_worker_died",
        "x = 3: F_CANCELLED",
        "x = 4: 16",
        "x = 5: 25",
        "4 results from 4 processes",
    ]


def test_decorators_stack_on_the_old_form() -> None:
    cls = old("old_thread_per_job").ThreadPerJobEvaluator
    with queued(cls)(lambda job, dequed: dequed[0], num_workers=2, queue=[7]) as evaluator:
        evaluator.submit([{}, {}, {}])
        assert [job.objective for job in evaluator.gather("ALL", timeout=30)] == [7, 7, 7]
    with simulated(cls)(lambda job: {"objective": job["x"], "runtime": job["x"]}, num_workers=2) as evaluator:
        evaluator.submit([{"x": 2}, {"x": 1}])
        assert [job.objective for job in evaluator.gather("ALL")] == [1, 2]


@pytest.mark.parametrize("base", [SerialEvaluator, ThreadPoolEvaluator])
def test_hooks_that_are_overridden_above_a_composed_engine_are_called(base: type[Evaluator]) -> None:
    called: list[str] = []
    with pytest.warns(DeprecationWarning, match="old form"):

        class Noted(base):  # type: ignore[valid-type,misc]
            def _start(self) -> None:
                called.append("start")
                super()._start()

            def _dispatch(self, job: Job[Any]) -> None:
                called.append("dispatch")
                super()._dispatch(job)

            def _stop(self, now: bool) -> None:
                called.append("stop")
                super()._stop(now)

    with Noted(lambda job: job["x"], num_workers=2) as evaluator:
        evaluator.submit([{"x": 1}, {"x": 2}])
        assert sorted(job.objective for job in evaluator.gather("ALL", timeout=30)) == [1, 2]
    assert called == ["start", "dispatch", "dispatch", "stop"]


def test_resources_lent_by_methods_of_the_evaluator_come_back() -> None:
    with pytest.warns(DeprecationWarning, match="old form"):

        class Lending(ThreadPoolEvaluator):
            lent = 0

            def _acquire(self, job: Job[Any]) -> dict[str, Any] | None:
                if self.lent:
                    return None
                self.lent += 1
                return {"licence": 5}

            def _release(self, job: Job[Any]) -> None:
                self.lent -= 1

            def _describe_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
                return {"licence": f"number {extra['licence']}"}

    with Lending(lambda job, licence: licence, num_workers=2) as evaluator:
        evaluator.submit([{}, {}])
        jobs = evaluator.gather("ALL", timeout=30)
    assert [(job.objective, job.metadata["licence"]) for job in jobs] == [(5, "number 5")] * 2
    assert evaluator.lent == 0


def test_what_a_hook_raises_is_told_as_before() -> None:
    with pytest.warns(DeprecationWarning, match="old form"):

        class Broken(Evaluator):
            def _start(self) -> None:
                if self.job_type == "task":
                    raise TypeError("nothing can run")

            def _dispatch(self, job: Job[Any]) -> None:
                raise OSError("no such engine")

    with Broken(lambda job: 0) as evaluator:
        evaluator.submit([{}])
        (job,) = evaluator.gather("ALL", timeout=30)
        assert job.kind is FailureKind.WORKER_DIED
        assert "no such engine" in (job.error or "")
    with Broken(lambda job: 0, job_type="task") as evaluator, pytest.raises(TypeError, match="nothing can run"):
        evaluator.submit([{}])


def test_a_wait_of_its_own_is_that_of_gather_and_of_agather() -> None:
    import asyncio

    with pytest.warns(DeprecationWarning, match="old form"):

        class InTheCallersThread(Evaluator):
            def _start(self) -> None:
                self._to_do: list[Job[Any]] = []

            def _dispatch(self, job: Job[Any]) -> None:
                self._to_do.append(job)

            def _wait(self, inbox: Any, size: int, deadline: float | None) -> None:
                from evalpool import JobStatus
                from evalpool.outcomes import Outcome

                while self._to_do:
                    job = self._to_do.pop()
                    now = time.monotonic()
                    self._report(job, Outcome(JobStatus.DONE, job.args["x"], start=now, end=now))

            async def _await(self, inbox: Any, size: int, deadline: float | None) -> None:
                await asyncio.to_thread(self._wait, inbox, size, deadline)

    with InTheCallersThread(lambda job: 0) as evaluator:
        evaluator.submit([{"x": 3}])
        assert [job.objective for job in evaluator.gather("ALL")] == [3]
        evaluator.submit([{"x": 4}])
        assert [job.objective for job in asyncio.run(evaluator.agather("ALL"))] == [4]


def test_no_class_of_ours_warns_and_an_adapted_class_warns_once() -> None:
    with pytest.warns(DeprecationWarning, match="old form") as told:

        class Once(ThreadPoolEvaluator):
            def _stop(self, now: bool) -> None:
                super()._stop(now)

    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Twice(Once):
            def _start(self) -> None:
                super()._start()

    assert issubclass(Twice, OldForm)
    assert not issubclass(ThreadPoolEvaluator, OldForm)
