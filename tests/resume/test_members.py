"""Several evaluators on one search: in processes of their own, and in this one."""

from __future__ import annotations

import json
import pickle
from collections import Counter

import pytest

from evalpool import Evaluator, MaximumJobsSpawnReached, RunningJob, optimize
from evalpool.callbacks import Callback
from evalpool.storage import Storage
from resume.processes import programs
from resume.searches import Optimizer

CAP = 60


def run(job: RunningJob) -> float:
    return 0.0


@pytest.mark.slow
def test_four_processes_see_each_others_jobs_exactly_once_and_share_the_cap(shared: Storage) -> None:
    search_id = shared.create_new_search()
    with programs(4, "member", pickle.dumps(shared).hex(), search_id, CAP) as members:
        for member in members:
            member.expect("ready")
        for member in members:
            member.tell("go")
        own = [json.loads(member.expect("own")) for member in members]
        for member in members:
            member.tell("look")
        seen = []
        for member in members:
            text, _, again = member.expect("seen").rpartition(" ")
            assert again == "0"
            seen.append(json.loads(text))

    submitted = [number for numbers in own for number in numbers]
    assert sorted(submitted) == list(range(CAP))  # each number once, all of them and no more
    records = {record.number: record for record in shared.results(search_id)}
    assert len(records) == CAP
    for mine, others in zip(own, seen, strict=True):
        assert Counter(number for number, _ in others) == Counter(set(range(CAP)) - set(mine))
        assert all(records[number].objective == objective for number, objective in others)
    assert 0.0 in {objective for others in seen for _, objective in others}


class Watcher(Callback):
    def __init__(self) -> None:
        self.done: list[int] = []
        self.others: list[int] = []
        self.gathered: list[tuple[list[int], list[int]]] = []

    def on_done(self, job: object) -> None:
        self.done.append(job.number)  # type: ignore[attr-defined]

    def on_done_other(self, job: object) -> None:
        self.others.append(job.number)  # type: ignore[attr-defined]

    def on_gather(self, local: list, other: list) -> None:  # type: ignore[type-arg]
        self.gathered.append(([job.number for job in local], [job.number for job in other]))


@pytest.mark.slow
def test_callbacks_hear_of_others_jobs_once(shared: Storage) -> None:
    watcher = Watcher()
    with Evaluator.create(run, "thread", {"storage": shared}) as first:
        settings = {"storage": shared, "search_id": first.search_id, "callbacks": [watcher]}
        with Evaluator.create(run, "thread", settings) as second:
            first.submit([{"x": 0}, {"x": 1}])
            first.gather()
            second.submit([{"x": 2}])
            second.gather()  # may tell of others
            jobs = second.gather_other_jobs_done()
            assert sorted(job.number for job in jobs) == [0, 1]
            assert second.gather_other_jobs_done() == []
    assert watcher.done == [2]
    assert sorted(watcher.others) == [0, 1]
    assert sorted(number for _, others in watcher.gathered for number in others) == [0, 1]
    assert [number for own, _ in watcher.gathered for number in own] == [2]


@pytest.mark.slow
def test_a_job_of_another_that_failed_is_seen_with_its_failure(shared: Storage) -> None:
    def fail(job: RunningJob) -> float:
        raise ValueError("not here")

    with Evaluator.create(fail, "thread", {"storage": shared}) as first:
        with Evaluator.create(run, "thread", {"storage": shared, "search_id": "latest"}) as second:
            first.submit([{"x": 0}])
            first.gather()
            shared.flush()
            (job,) = second.gather_other_jobs_done()
    assert job.objective == "F_ValueError"
    assert "not here" in job.error
    assert job.args == {"x": 0}


@pytest.mark.slow
def test_the_optimiser_is_told_what_others_found_and_a_common_cap_ends_both(durable: Storage) -> None:
    with Evaluator.create(run, "thread", {"storage": durable}) as first:
        settings = {"storage": durable, "search_id": first.search_id}
        with Evaluator.create(run, "thread", settings) as second:
            for evaluator in (first, second):
                evaluator.set_maximum_num_jobs_submitted(9)
            optimize(first, Optimizer(), 5)
            optimizer = Optimizer()
            jobs = optimize(second, optimizer, 100)
            assert len(jobs) == 4
            assert sorted(optimizer.told) == [f"{first.search_id}.{n}" for n in range(9)]
            with pytest.raises(MaximumJobsSpawnReached):
                first.submit([{"x": 0}])


def test_two_evaluators_of_one_process_share_a_memory() -> None:
    from evalpool.storage import MemoryStorage

    storage = MemoryStorage()
    with Evaluator.create(run, "serial", {"storage": storage}) as first:
        with Evaluator.create(run, "serial", {"storage": storage, "search_id": "latest"}) as second:
            first.submit([{"x": 0}])
            first.gather()
            second.submit([{"x": 1}])
            second.gather()
            assert [job.number for job in first.gather_other_jobs_done()] == [1]
            assert [job.number for job in second.gather_other_jobs_done()] == [0]
        with Evaluator.create(run, "serial", {"storage": storage, "search_id": "latest"}) as third:
            assert third.resume() == 0
            assert sorted(job.number for job in third.gather()) == [0, 1]
