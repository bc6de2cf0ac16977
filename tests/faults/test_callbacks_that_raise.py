"""Callbacks, storages and optimisers that raise: the search loses no job by it, and hears of each once."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, optimize
from evalpool.callbacks import Callback, CSVLoggerCallback
from faults import culprits

Make = Callable[..., Any]


class Heard(Callback):
    """Counts; and interrupts at the hook and the job it is told."""

    def __init__(self, hook: str = "", number: int = -1, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.hook, self.number, self.error = hook, number, error
        self.done: Counter[int] = Counter()
        self.launched: Counter[int] = Counter()
        self.gathered: Counter[int] = Counter()

    def _trip(self, hook: str, number: int) -> None:
        if (hook, number) == (self.hook, self.number):
            self.hook = ""
            raise self.error("in a callback")

    def on_launch(self, job: Any) -> None:
        self.launched[job.number] += 1
        self._trip("on_launch", job.number)

    def on_done(self, job: Any) -> None:
        self.done[job.number] += 1
        self._trip("on_done", job.number)

    def on_gather(self, local_jobs: Any, other_jobs: Any) -> None:
        for job in local_jobs:
            self.gathered[job.number] += 1
        self._trip("on_gather", -1)


ONCE = Counter(range(10))


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
@pytest.mark.parametrize(("hook", "number"), [("on_done", 0), ("on_done", 4), ("on_done", 9), ("on_gather", -1)])
def test_an_interrupt_in_a_callback_loses_no_job_and_repeats_none(
    make: Make, tmp_path: Path, method: str, hook: str, number: int
) -> None:
    interrupting, other = Heard(hook, number), Heard()
    table = CSVLoggerCallback(tmp_path / "results.csv")
    evaluator = make(culprits.mostly_harmless, method, num_workers=1, callbacks=[interrupting, other, table])
    evaluator.submit([{"x": n} for n in range(10)])
    with pytest.raises(KeyboardInterrupt, match="in a callback"):
        evaluator.gather("BATCH", 10)
    found = evaluator.gather("ALL")
    assert sorted(job.number for job in found) == list(range(10))
    assert [job.objective for job in sorted(found, key=lambda job: job.number)] == [10.0 * n for n in range(10)]
    assert evaluator.gather() == []
    assert evaluator.num_jobs_gathered == 10
    assert interrupting.done == other.done == ONCE
    evaluator.close()
    assert other.gathered == ONCE
    with (tmp_path / "results.csv").open() as file:
        rows = [int(row["job_id"]) for row in csv.DictReader(file)]
    assert sorted(rows) == list(range(10))


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_an_interrupt_in_on_launch_leaves_an_evaluator_that_works(make: Make, method: str) -> None:
    heard = Heard("on_launch", 1)
    evaluator = make(culprits.mostly_harmless, method, callbacks=[heard])
    with pytest.raises(KeyboardInterrupt):
        evaluator.submit([{"x": n} for n in range(3)])
    submitted = evaluator.submit([{"x": 5}, {"x": 6}])
    gathered = evaluator.gather("ALL")
    assert set(submitted) <= set(gathered)
    assert evaluator.num_jobs_submitted == evaluator.num_jobs_gathered == len(gathered)
    assert [job.objective for job in submitted] == [50.0, 60.0]


@pytest.mark.parametrize("hook", ["on_launch", "on_start", "on_record", "on_done", "on_gather", "on_close"])
def test_a_callback_that_raises_in_any_hook_is_logged_with_its_name(
    make: Make, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    def fail(self: Any, *args: Any) -> None:
        raise LookupError("a callback's own fault")

    def run(job: Any) -> float:
        job.record(1, 2.0)
        return 1.0

    broken = type("Broken", (Callback,), {hook: fail})()
    heard = Heard()
    evaluator = make(run, "thread", num_workers=2, callbacks=[broken, heard])
    evaluator.submit([{}] * 10)
    assert [job.objective for job in evaluator.gather()] == [1.0] * 10
    evaluator.gather()
    evaluator.close()
    assert heard.launched == heard.done == heard.gathered == ONCE
    assert f"Broken.{hook} raised" in caplog.text


class Optimizer:
    """Proposes numbers; raises when it is told to."""

    def __init__(self, asks: int = 1000, tells: int = 1000, error: type[BaseException] = LookupError) -> None:
        self.asks, self.tells, self.error = asks, tells, error
        self.told: list[Any] = []

    def ask(self) -> dict[str, Any]:
        self.asks -= 1
        if self.asks < 0:
            raise self.error("the optimiser's own fault")
        return {"x": self.asks}

    def tell(self, job: Any) -> None:
        self.tells -= 1
        if self.tells < 0:
            raise self.error("the optimiser's own fault")
        self.told.append(job)


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
@pytest.mark.parametrize("fault", [{"asks": 10}, {"tells": 10}], ids=["ask", "tell"])
@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
def test_an_optimiser_that_raises_reaches_the_user_and_no_result_is_lost(
    make: Make, method: str, fault: dict[str, int], error: type[BaseException]
) -> None:
    heard = Heard()
    evaluator = make(culprits.mostly_harmless, method, num_workers=2, callbacks=[heard])
    optimizer = Optimizer(**fault, error=error)
    with pytest.raises(error, match="own fault"):
        optimize(evaluator, optimizer, max_evals=50)
    evaluator.gather("ALL")
    assert evaluator.num_jobs_submitted == evaluator.num_jobs_gathered
    assert set(heard.done.values()) == {1}
    assert {job.number for job in optimizer.told} <= set(heard.done)
    evaluator.submit([{"x": 3}])  # it can be used after that
    assert [job.objective for job in evaluator.gather()] == [30.0]


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_the_searchs_exception_comes_out_of_with_after_a_close(method: str) -> None:
    heard = Heard()
    jobs: list[Any] = []

    def search() -> None:
        with Evaluator.create(culprits.mostly_harmless, method, {"callbacks": [heard]}) as evaluator:
            jobs.extend(evaluator.submit([{"do": "cooperate"}, {"x": 1}]))
            raise LookupError("the search's own fault")

    with pytest.raises(LookupError, match="the search's own"):
        search()
    assert all(job.is_done for job in jobs)
    assert heard.done == Counter(range(2))
