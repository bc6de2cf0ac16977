"""The storage of an evaluator that was given none: gathered jobs become values in columns, and nobody can tell."""

from __future__ import annotations

import gc
import itertools
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest

from evalpool import Evaluator, JobStatus, Submission
from evalpool.cli._campaign import Watcher
from evalpool.evaluator._gathered_jobs import GatheredJobs
from evalpool.evaluator._own_storage import AT_ONCE, OwnStorage
from evalpool.jobs._job import Job
from evalpool.outcomes import Outcome, Worker
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


def in_columns(evaluator: Any) -> int:
    return own(evaluator)._ends[-1]


def facts(record: Any) -> dict[str, Any]:
    found = record.model_dump()
    for name in ("error", "owner", "search_id", "timestamp_submit", "timestamp_start", "timestamp_end"):
        found.pop(name)
    assert record.timestamp_submit <= record.timestamp_start <= record.timestamp_end <= found.pop("timestamp_gather")
    return found


WORKER = Worker("w", "h", 1)
VALUES: list[Any] = [
    *(0, 1, -1, 2**70, True, False, None, 0.0, -0.0, float("inf"), "a", "a" * 3, (1.0, 2), [1], {"a": 1}),
    *(np.float64(1.5), np.arange(3)),
]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_jobs_from_columns_are_equal_to_those_that_were_given(count: int) -> None:
    """Whatever the values are, and whether a column holds one sort of them or several."""
    choices = [*itertools.combinations_with_replacement(VALUES, 2)]
    for first, second in choices:
        jobs = []
        for number in range(count):
            value = first if number % 2 == 0 else second
            args = {"x": value, "y": value} if second is None and number % 2 else {"x": value}
            job: Job[Any] = Job(None, None, "3", number, args, "task", 0.5)
            job._outcome = Outcome(JobStatus.DONE, value, {"a": value}, None, None, None, 1.0, 2.0, WORKER)
            job._status, job.attempts, job._gathered = JobStatus.DONE, 1 + number % 2, 3.0 + number
            if number % 2:
                job._errors = [f"error {number}"]
                job.options = Submission({}, priority=number).options
            jobs.append(job)
        expected = [described(job) for job in jobs]
        columns = GatheredJobs(jobs)
        assert [columns.at(index) for index in range(count)] == jobs
        jobs.clear()
        del job
        columns.forget_dropped()
        assert [described(columns.at(index)) for index in range(count)] == expected
        assert len(columns) == count


def described(job: Any) -> str:
    outcome = [(value, type(value)) for value in job._outcome]
    args = [(name, value, type(value)) for name, value in job.args.items()]
    return repr((job.id, args, outcome, job.metadata, job.attempts, job.attempt_errors, job.options, job.job_type))


@pytest.mark.slow
def test_records_are_the_same_whether_jobs_are_in_columns_or_not() -> None:
    count = 4 * AT_ONCE
    with Evaluator.create(run) as evaluator, Evaluator.create(run, "serial", {"storage": MemoryStorage()}) as other:
        before = evaluator.results()
        loop(evaluator, 0, count)
        loop(other, 0, count)
        assert before == []
        assert in_columns(evaluator) >= count - AT_ONCE
        assert list(map(facts, evaluator.results())) == list(map(facts, other.results()))


def test_whoever_reads_now_and_then_gets_each_job() -> None:
    with Evaluator.create(run) as evaluator:
        storage, after = own(evaluator), None
        created, finished = set(), []
        for first in range(0, 5 * AT_ONCE, AT_ONCE // 2):
            loop(evaluator, first, AT_ONCE // 2)
            waiting = evaluator.submit([{"x": -1}])
            events, after = storage.read(after)
            created |= {event.number for event in events if event.kind == "created"}
            finished += [event.number for event in events if event.kind == "finished"]
            assert waiting[0].number in created
            evaluator.gather()
            assert len(storage._created) < 3 * AT_ONCE
        events, after = storage.read(after)
        finished += [event.number for event in events if event.kind == "finished"]
        assert storage.read(after) == ([], after)
        assert in_columns(evaluator) > 0
        assert finished == sorted(created) == list(range(5 * AT_ONCE + 10))


@pytest.mark.slow
def test_the_best_jobs_are_as_they_were_and_the_same_objects_while_they_are_held() -> None:
    with Evaluator.create(run) as evaluator:
        loop(evaluator, 0, 3 * AT_ONCE)
        loop(evaluator, -5 * AT_ONCE, 2 * AT_ONCE)
        [best] = evaluator.best()
        assert (best.objective, best.status, best.attempts) == (3.0 * AT_ONCE - 1, JobStatus.DONE, 1)
        assert best.args["x"] == best.objective
        assert best.worker is not None
        assert best.metadata["timestamp_gather"] >= best.metadata["timestamp_end"]
        best.mark = "mine"
        assert evaluator.best()[0] is best
        loop(evaluator, -9 * AT_ONCE, 2 * AT_ONCE)
        assert evaluator.best()[0].mark == "mine"


def test_a_job_that_the_program_holds_or_has_marked_is_the_same_object() -> None:
    with Evaluator.create(run) as evaluator:
        held, marked = [], set()
        for x in range(3 * AT_ONCE):
            evaluator.submit([Submission({"x": 50 * x}, tags=["a"]) if x % 3 == 0 else {"x": 50 * x}])
            [job] = evaluator.gather()
            if x % 3 == 1:
                held.append(job)
            elif x % 3 == 2:
                job.mark = x
                marked.add(job.id)
            del job
        jobs = {job.id: job for job in evaluator.best(10**6)}
        assert in_columns(evaluator) >= 2 * AT_ONCE
        assert all(jobs[job.id] is job for job in held)
        assert {job.id for job in jobs.values() if hasattr(job, "mark")} == marked
        assert sum(job.options.tags == ("a",) for job in jobs.values()) == AT_ONCE


@pytest.mark.slow
def test_large_batches_do_not_pile_up_as_objects() -> None:
    with Evaluator.create(run) as evaluator:
        for _ in range(6):
            evaluator.submit([{"x": 50}] * (3 * AT_ONCE))
            evaluator.gather()
            assert len(own(evaluator)._gathered) <= 2 * 3 * AT_ONCE
        assert len(evaluator.results()) == 18 * AT_ONCE


def test_jobs_that_are_gathered_again_after_an_interrupt_are_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with Evaluator.create(run) as evaluator:
        storage = own(evaluator)
        loop(evaluator, 0, AT_ONCE)
        take = storage.take_finished

        def struck(jobs: Any) -> None:
            take(jobs)
            raise KeyboardInterrupt

        monkeypatch.setattr(evaluator._recorder, "gathered", struck)
        evaluator.submit([{"x": 1}])
        with pytest.raises(KeyboardInterrupt):
            evaluator.gather()
        monkeypatch.undo()
        assert len(evaluator.gather()) == 1
        loop(evaluator, 0, 2 * AT_ONCE)
        assert len(evaluator.results()) == 3 * AT_ONCE + 1
        jobs = evaluator.best(10**6)
        assert len({job.id for job in jobs}) == len(jobs)


def test_who_looks_while_jobs_run_sees_that_they_run() -> None:
    begun, free = threading.Semaphore(0), threading.Event()

    def wait(job: Any) -> float:
        begun.release()
        assert free.wait(60)
        return job["x"] * 1.0

    with Evaluator.create(wait, "thread", {"num_workers": 2}) as evaluator:
        watcher = Watcher(evaluator.storage)
        evaluator.submit([{"x": x} for x in range(3)])
        assert begun.acquire(timeout=60)
        assert begun.acquire(timeout=60)
        assert [record.status.value for record in evaluator.results()] == ["RUNNING", "RUNNING", "READY"]
        watcher.look()
        jobs = watcher.campaigns["0"].summary()["jobs"]
        assert (jobs["running"], jobs["waiting"]) == (2, 1)
        assert not watcher.look()  # a look costs what is new
        free.set()
        evaluator.gather()
        watcher.look()
        jobs = watcher.campaigns["0"].summary()["jobs"]
        assert (jobs["running"], jobs["waiting"], jobs["succeeded"]) == (0, 0, 3)


@pytest.mark.slow
def test_bytes_kept_of_a_job_in_a_search_loop() -> None:
    """Counted: 75, where job objects are 690. As in `benchmarks/bench_records.py`."""
    count = 20 * AT_ONCE
    with Evaluator.create(lambda job: job["x"] * 2.0) as evaluator:
        evaluator.submit([{"x": n, "y": 1.0, "z": "a"} for n in range(8)])
        evaluator.gather("BATCH", 1)
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for n in range(count):
            evaluator.submit([{"x": n, "y": 1.0, "z": "a"}])
            evaluator.gather("BATCH", 1)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert 0 < kept < 150 * count
