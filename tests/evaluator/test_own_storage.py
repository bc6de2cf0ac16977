"""The storage of an evaluator that was given none: jobs that nobody holds become values, and nobody can tell."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from evalpool import Evaluator, JobStatus, Submission
from evalpool.evaluator._own_storage import AT_ONCE, OwnStorage
from evalpool.storage import MemoryStorage


def run(job: Any) -> Any:
    x = job["x"]
    if x % 50 == 7:
        raise ValueError("seven")
    if x % 50 == 9:
        return {"objective": float(x), "metadata": {"seen": x}}
    return float(x)


def own(evaluator: Any) -> OwnStorage:
    storage = evaluator.storage
    assert isinstance(storage, OwnStorage)
    return storage


def loop(evaluator: Any, first: int, count: int) -> None:
    """Evaluate configurations of different names, and keep no job."""
    for x in range(first, first + count):
        evaluator.submit([{"x": x, "even": "yes"} if x % 2 == 0 else {"x": x}])
        evaluator.gather()


def packed(evaluator: Any) -> int:
    return len(own(evaluator)._packed)


def facts(record: Any) -> dict[str, Any]:
    found = record.model_dump()
    for name in ("error", "owner", "search_id", "timestamp_submit", "timestamp_start", "timestamp_end"):
        found.pop(name)
    assert record.timestamp_submit <= record.timestamp_start <= record.timestamp_end <= found.pop("timestamp_gather")
    return found


def test_records_are_the_same_whether_jobs_are_packed_or_not() -> None:
    count = 4 * AT_ONCE
    with Evaluator.create(run) as evaluator, Evaluator.create(run, "serial", {"storage": MemoryStorage()}) as other:
        before = evaluator.results()
        loop(evaluator, 0, count)
        loop(other, 0, count)
        assert before == []
        assert packed(evaluator) > count // 2
        assert list(map(facts, evaluator.results())) == list(map(facts, other.results()))


def test_whoever_reads_now_and_then_gets_each_event_once() -> None:
    with Evaluator.create(run) as evaluator:
        storage, after, kinds = own(evaluator), None, []
        for first in range(0, 5 * AT_ONCE, AT_ONCE):
            loop(evaluator, first, AT_ONCE)
            waiting = evaluator.submit([{"x": -1}])
            events, after = storage.read(after)
            kinds += [(event.kind, event.number) for event in events if event.number is not None]
            assert ("created", waiting[0].number) in kinds
            evaluator.gather()
        assert packed(evaluator) > 0
        assert len(kinds) == len(set(kinds))
        numbers = range(5 * AT_ONCE + 4)
        assert {number for kind, number in kinds if kind == "finished"} == set(numbers)


def test_the_best_jobs_are_as_they_were_and_the_same_objects_again() -> None:
    with Evaluator.create(run) as evaluator:
        loop(evaluator, 0, 3 * AT_ONCE)
        loop(evaluator, -5 * AT_ONCE, 2 * AT_ONCE)
        [best] = evaluator.best()
        assert (best.objective, best.status, best.attempts) == (3.0 * AT_ONCE - 1, JobStatus.DONE, 1)
        assert best.args["x"] == best.objective
        assert best.worker is not None
        assert best.metadata["timestamp_gather"] >= best.metadata["timestamp_end"]
        best.mark = "mine"
        again = evaluator.best()
        assert again[0] is best
        del again, best
        loop(evaluator, -9 * AT_ONCE, 2 * AT_ONCE)
        assert evaluator.best()[0].mark == "mine"


def change_metadata(job: Any) -> None:
    job.metadata["mine"] = 1


def set_attribute(job: Any) -> None:
    job.mark = 1


@pytest.mark.parametrize("change", [change_metadata, set_attribute])
def test_what_the_user_added_to_a_job_stays(change: Any) -> None:
    with Evaluator.create(run) as evaluator:
        for x in range(3 * AT_ONCE):
            evaluator.submit([{"x": 50 * x}])
            change(evaluator.gather()[0])
        assert packed(evaluator) == 0
        assert len(evaluator.best(10**6)) == 3 * AT_ONCE


def test_jobs_that_are_held_have_options_or_are_watched_stay_objects() -> None:
    with Evaluator.create(run) as evaluator:
        held, references = [], []
        for x in range(3 * AT_ONCE):
            evaluator.submit([Submission({"x": 50 * x}, tags=["a"]) if x % 3 == 0 else {"x": 50 * x}])
            [job] = evaluator.gather()
            if x % 3 == 1:
                held.append(job)
            elif x % 3 == 2:
                references.append(weakref.ref(job))
            del job
        assert packed(evaluator) == 0
        assert all(reference() is not None for reference in references)
        assert evaluator.results()[0].options.tags == ("a",)
        held.clear()
        references.clear()
        loop(evaluator, 0, 4 * AT_ONCE)
        kept = sum(job is not None for job in own(evaluator)._gathered)
        assert kept < AT_ONCE + 2 * AT_ONCE + 4 * AT_ONCE // 10


def test_a_dropped_job_leaves_its_values_alone() -> None:
    with Evaluator.create(run) as evaluator:
        loop(evaluator, 0, 20 * AT_ONCE)
        gc.collect()
        assert sum(type(one).__name__ == "Job" for one in gc.get_objects()) < 20 * AT_ONCE // 4


def test_an_interrupt_while_values_are_taken_loses_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(list[Any]):
        def __iadd__(self, values: Any) -> Any:
            super().__iadd__(values)
            if len(self) > 300 and not struck:
                struck.append(1)
                raise KeyboardInterrupt
            return self

    struck: list[int] = []
    with Evaluator.create(run) as evaluator:
        own(evaluator)._packed._values = Interrupting()
        x = 0
        while x < 6 * AT_ONCE:
            evaluator.submit([{"x": x}])
            x += 1
            try:
                evaluator.gather()
            except KeyboardInterrupt:
                assert len(evaluator.gather()) == 1
        assert struck
        assert [(record.number, record.configuration) for record in evaluator.results()] == [
            (number, {"x": number}) for number in range(x)
        ]
