"""`RunningJob` by hand, without an evaluator: what users have when they debug a run-function."""

from __future__ import annotations

import copy
import pickle
from collections.abc import MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalpool import JobStatus, RunningJob
from evalpool.evaluator import MedianStopper
from evalpool.testing._stopping import StopAfterThree


def test_it_is_a_mutable_mapping_over_a_copy_of_the_configuration() -> None:
    parameters = {"x": 1, "y": 2}
    job = RunningJob(parameters=parameters)
    assert isinstance(job, MutableMapping)
    job["x"] = 5
    job["z"] = 7
    del job["y"]
    assert dict(job) == {"x": 5, "z": 7} == job.parameters == job.copy()
    assert (len(job), list(job), "x" in job, "y" in job) == (2, ["x", "z"], True, False)
    assert (job.get("y"), job.get("y", 3), job.pop("z"), job.setdefault("w", 4)) == (None, 3, 7, 4)
    assert parameters == {"x": 1, "y": 2}
    with pytest.raises(KeyError, match="absent"):
        job["absent"]


@given(st.dictionaries(st.text(), st.integers()))
def test_it_holds_exactly_what_it_was_given(parameters: dict[str, int]) -> None:
    job = RunningJob(parameters=parameters)
    assert dict(job) == dict(job.items()) == parameters
    assert len(job) == len(parameters)
    assert {**job} == parameters


def test_the_number_reads_as_a_key_and_is_none_of_the_parameters() -> None:
    job = RunningJob(id="3.17", parameters={"x": 1})
    assert job.id == "3.17"
    assert job["job_id"] == 17
    assert "job_id" in job
    assert job.get("job_id") == 17
    assert list(job) == ["x"]
    assert RunningJob(id="3.17", parameters={"job_id": "mine"})["job_id"] == "mine"


def test_a_search_id_may_have_dots() -> None:
    job = RunningJob(id="a.b.17")
    assert job.id == "a.b.17"
    assert job["job_id"] == 17


def test_without_arguments_it_is_an_empty_job_number_zero() -> None:
    job = RunningJob()
    assert (job.id, dict(job), job.attempt, job.status, job.storage) == ("0.0", {}, 1, JobStatus.RUNNING, None)
    assert job.objective is None
    assert not job.stopped()
    assert job.metadata == {}
    job.metadata["note"] = 1
    assert job.metadata == {"note": 1}


def test_seeds_are_reproducible_differ_by_number_and_fit_numpy() -> None:
    seeds = [RunningJob(id=f"0.{n}").seed for n in range(100)]
    assert seeds == [RunningJob(id=f"0.{n}").seed for n in range(100)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert RunningJob(seed=42).seed == 42


def test_records_by_hand_are_seen_by_the_stopper_and_by_nobody_else() -> None:
    stopper = StopAfterThree()
    job = RunningJob(stopper=stopper)
    for epoch in range(1, 4):
        assert not job.stopped()
        assert job.status is JobStatus.RUNNING
        job.record(epoch, epoch / 10)
    assert job.stopped()
    assert job.status is JobStatus.CANCELLING
    assert job.objective == 0.3
    assert stopper.seen == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_without_a_stopper_the_last_record_is_the_objective() -> None:
    job = RunningJob()
    job.record(1, 0.5)
    job.record(2, (1.0, 2.0))
    assert job.objective == (1.0, 2.0)
    assert not job.stopped()


def test_the_stoppers_of_evalpool_work_by_hand() -> None:
    job = RunningJob(stopper=MedianStopper(max_steps=10))
    job.record(1, 0.5)
    assert not job.stopped()
    assert job.objective == 0.5


def test_its_repr_says_id_status_and_parameters() -> None:
    assert (
        repr(RunningJob(id="0.4", parameters={"x": 1})) == "RunningJob(id='0.4', status=RUNNING, parameters={'x': 1})"
    )


def test_a_storage_given_by_hand_is_given_back() -> None:
    storage = object()
    assert RunningJob(storage=storage).storage is storage
    job = RunningJob(parameters={"x": 1})
    job.storage = storage
    assert job.storage is storage


@pytest.mark.parametrize("name", ["test", "", "3.", "3.x", "7"])
def test_any_text_may_be_the_id_of_one_made_by_hand(name: str) -> None:
    job = RunningJob(id=name, parameters={"x": 1})
    assert (job.id, job["job_id"], job["x"]) == (name, 0, 1)
    assert job.seed == RunningJob(id="0.0").seed
    assert pickle.loads(pickle.dumps(job)).id == name


def test_a_stopper_may_be_given_later_and_is_told_its_job_if_it_asks_for_one() -> None:
    class Knowing(StopAfterThree):
        job = None

    job = RunningJob(id="test", parameters={"x": 1})
    assert job.stopper is None
    job.stopper = stopper = Knowing()
    assert job.stopper is stopper
    assert stopper.job is job
    other = RunningJob(stopper=stopper)
    assert (other.stopper, stopper.job) == (stopper, job)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda job: pickle.loads(pickle.dumps(job))])
def test_one_made_by_hand_can_be_copied_and_pickled(duplicate: Any) -> None:
    job = RunningJob(id="2.5", parameters={"x": [1]}, seed=9)
    twin = duplicate(job)
    assert (twin.id, dict(twin), twin.seed) == ("2.5", {"x": [1]}, 9)
