"""A storage that fails while the evaluator runs, and values that no record can hold."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, RunningJob, optimize
from evalpool.callbacks import Callback
from evalpool.errors import NotJSON, StorageUnavailable
from evalpool.outcomes import JobStatus
from evalpool.storage import Event, MemoryStorage, RedisStorage, SQLiteStorage, Storage, storage_from_url
from resume.processes import program
from resume.searches import Optimizer
from storage.redis_server import RedisServer

# Disks and servers.


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One to be killed."""
    with RedisServer.running() as server:
        yield server


class Gate:
    """A run-function that waits until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)

    def __call__(self, job: RunningJob) -> float:
        self.entered.release()
        self.open.wait()
        return float(job["x"])


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def _said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)


def _gather_one_by_one(evaluator: Evaluator, count: int) -> list[Any]:
    objectives: list[Any] = []
    while len(objectives) < count:
        objectives += [job.objective for job in evaluator.gather("BATCH", 1)]
    return objectives


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_full_disk_loses_no_outcome_and_refuses_new_jobs_before_taking_them(
    kind: str, small_disk: Path, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    ballast = small_disk / "ballast"
    with storage_from_url(f"{kind}:///{small_disk}/results") as storage:
        with Evaluator.create(gate, "thread", {"storage": storage, "num_workers": 4}) as evaluator:
            evaluator.submit([{"x": x} for x in range(4)])
            for _ in range(4):
                gate.entered.acquire()
            with pytest.raises(OSError, match="No space left"):
                ballast.write_bytes(b"z" * 2_000_000)
            with pytest.raises(StorageUnavailable, match="full"):
                storage.store_search_value(evaluator.search_id, "rest", "z" * 10_000)
            with pytest.raises(StorageUnavailable, match="full"):
                evaluator.submit([{"x": 4}])
            assert evaluator.num_jobs_submitted == 4
            gate.open.set()
            assert sorted(_gather_one_by_one(evaluator, 4)) == [0.0, 1.0, 2.0, 3.0]
            assert _said(caplog, "Records are kept in memory") == 1

            ballast.unlink()

            storage.flush()
            assert [record.objective for record in evaluator.results()] == [0.0, 1.0, 2.0, 3.0]
            assert all(record.timestamp_gather is not None for record in evaluator.results())
            evaluator.submit([{"x": 5}])
            assert [job.objective for job in evaluator.gather()] == [5.0]
    assert _said(caplog, "takes records again") == 1


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_the_same(tmp_path: Path) -> None:
    """Where nobody may mount a small disk. A journal would go on in its next file."""
    with program("fill", f"sqlite:///{tmp_path}/results.db", 200_000) as search:
        search.expect("full")
        taken, _, message = search.expect("refused").partition(" ")
        assert taken == "0"
        assert "results.db" in message
        assert json.loads(search.expect("gathered")) == [0.0] * 8
        assert search.expect("kept") == "0"
        assert search.expect("written") == "8"
        lines = json.loads(search.expect("log"))
    assert sum("Records are kept in memory" in line for line in lines) == 1, lines
    assert sum("takes records again" in line for line in lines) == 1, lines
    assert len(lines) <= 3, lines


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_loses_no_outcome(
    server: RedisServer, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisStorage.from_url(server.url, timeout=0.2) as storage:
        with Evaluator.create(gate, "thread", {"storage": storage, "num_workers": 4}) as evaluator:
            evaluator.submit([{"x": x} for x in range(4)])
            for _ in range(4):
                gate.entered.acquire()
            server.kill()
            with pytest.raises(StorageUnavailable, match="does not answer"):
                evaluator.submit([{"x": 4}])
            assert evaluator.num_jobs_submitted == 4
            gate.open.set()
            assert sorted(_gather_one_by_one(evaluator, 4)) == [0.0, 1.0, 2.0, 3.0]
            assert evaluator.gather() == []
            with pytest.raises(StorageUnavailable):
                evaluator.gather_other_jobs_done()
            assert _said(caplog, "Records are kept in memory") == 1
            assert _said(caplog, "cannot be read for now") <= 1

            server.start()
            server.wait_ready()

            storage.flush()
            records = evaluator.results()
            assert [(record.objective, record.status) for record in records] == [
                (float(n), JobStatus.DONE) for n in range(4)
            ]
            assert all(record.timestamp_gather is not None for record in records)
            (job,) = evaluator.submit([{"x": 5}])
            assert job.number >= 4
            assert [job.objective for job in evaluator.gather()] == [5.0]
    assert _said(caplog, "takes records again") == 1


@pytest.mark.slow
def test_an_evaluator_closed_while_its_server_is_away_leaves_its_outcomes_to_the_client(
    server: RedisServer, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisStorage.from_url(server.url, timeout=0.2) as storage:
        evaluator = Evaluator.create(gate, "thread", {"storage": storage, "num_workers": 1})
        evaluator.submit([{"x": 0}, {"x": 1}])
        gate.entered.acquire()
        server.kill()
        gate.open.set()
        assert [job.objective for job in evaluator.gather()] == [0.0, 1.0]
        assert evaluator.close() == []
        assert _said(caplog, "Not all records of search") == 1
        server.start()
        server.wait_ready()
        storage.flush()
        assert [record.objective for record in storage.results()] == [0.0, 1.0]


@pytest.mark.slow
def test_optimize_says_that_the_storage_is_away_and_the_search_goes_on_later(server: RedisServer) -> None:
    def run(job: RunningJob) -> float:
        if job["x"] == 5 and job.attempt == 1 and not killed.is_set():
            server.kill()
            killed.set()
        return float(job["x"])

    killed = threading.Event()
    with RedisStorage.from_url(server.url, timeout=0.2) as storage:
        with Evaluator.create(run, "thread", {"storage": storage, "num_workers": 1}) as evaluator:
            with pytest.raises(StorageUnavailable, match="does not answer"):
                optimize(evaluator, Optimizer(), 20)
            server.start()
            server.wait_ready()
            storage.flush()
            done = [record for record in evaluator.results() if record.status is JobStatus.DONE]
            assert [record.objective for record in done] == [float(n) for n in range(len(done))]
            assert len(done) >= 5
        settings = {"storage": storage, "search_id": "latest"}
        with Evaluator.create(run, "thread", settings) as evaluator:
            evaluator.resume()
            assert len(optimize(evaluator, Optimizer(), 20)) == 20


# Values that are no JSON.


@pytest.mark.slow
def test_an_outcome_that_is_no_json_reaches_the_caller_and_its_record_keeps_its_text(
    durable: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    lock = threading.Lock()

    def run(job: RunningJob) -> dict[str, Any]:
        job.record(1, lock)
        return {"objective": 1.5, "model": lock, "metadata": {"handle": [lock]}}

    with Evaluator.create(run, "thread", {"storage": durable}) as evaluator:
        evaluator.submit([{"x": 0}])
        (job,) = evaluator.gather()
        assert job.objective == 1.5
        assert job.output["model"] is lock
        assert evaluator.gather() == []
        (record,) = evaluator.results()
    assert record.status is JobStatus.DONE
    assert record.objective == 1.5
    assert record.output["model"] == repr(lock)
    assert record.metadata["handle"] == [repr(lock)]
    assert record.recorded == [(1.0, repr(lock))]
    assert record.timestamp_gather is not None
    assert _said(caplog, "finished.output.model is of type lock, which is not JSON") == 1
    assert _said(caplog, "recorded.objective is of type lock, which is not JSON") == 1


@pytest.mark.slow
def test_a_task_may_return_an_object_to_its_caller(durable: Storage) -> None:
    thing = object()
    with Evaluator.create(lambda job: thing, "thread", {"storage": durable, "job_type": "task"}) as evaluator:
        evaluator.submit([{"x": 0}])
        (job,) = evaluator.gather()
        assert job.output is thing
        assert evaluator.results()[0].output == repr(thing)


@pytest.mark.slow
def test_a_configuration_that_is_no_json_is_refused_before_anything_is_taken(shared: Storage) -> None:
    with Evaluator.create(lambda job: 0.0, "thread", {"storage": shared}) as evaluator:
        evaluator.set_maximum_num_jobs_submitted(2)
        with pytest.raises(NotJSON, match=r"configurations\[1\]\.model\.layers\[0\] is of type object"):
            evaluator.submit([{"x": 1}, {"model": {"layers": [object()]}}])
        with pytest.raises(TypeError):
            evaluator.submit([{"model": object()}])
        assert evaluator.num_jobs_submitted == 0
        assert evaluator.results() == []
        assert [job.number for job in evaluator.submit([{"x": 0}, {"x": 1}])] == [0, 1]  # the cap is whole
        assert len(evaluator.gather()) == 2


def test_a_memory_keeps_configurations_as_they_are() -> None:
    thing = object()
    with Evaluator.create(lambda job: id(job["thing"]), "thread", {"storage": MemoryStorage()}) as evaluator:
        evaluator.submit([{"thing": thing}])
        assert evaluator.gather()[0].objective == id(thing)
        assert evaluator.results()[0].configuration == {"thing": repr(thing)}


def test_numpy_values_are_json_on_every_storage(shared: Storage) -> None:
    import numpy as np

    def run(job: RunningJob) -> dict[str, Any]:
        return {"objective": np.float32(0.5), "curve": np.arange(3)}

    with Evaluator.create(run, "thread", {"storage": shared}) as evaluator:
        evaluator.submit([{"lr": np.float64(0.1), "units": np.int64(3), "mask": np.array([True, False])}])
        evaluator.gather()
        shared.flush()
        (record,) = evaluator.results()
    assert record.configuration == {"lr": 0.1, "units": 3, "mask": [True, False]}
    assert record.objective == 0.5
    assert record.output["curve"] == [0, 1, 2]


# Interrupts.


class _Interrupted(SQLiteStorage):
    """Ctrl-C strikes while gather records its first jobs."""

    struck = False

    def append(self, events: Sequence[Event]) -> None:
        if not self.struck and events[-1].kind == "gathered":
            self.struck = True
            raise KeyboardInterrupt
        super().append(events)


@pytest.mark.slow
def test_a_gather_that_is_interrupted_while_it_records_loses_nothing_and_tells_once(tmp_path: Path) -> None:
    done: list[int] = []

    class Watcher(Callback):
        def on_done(self, job: Any) -> None:
            done.append(job.number)

    with _Interrupted(tmp_path / "results.db") as storage:
        settings = {"storage": storage, "num_workers": 2, "callbacks": [Watcher()]}
        with Evaluator.create(lambda job: 1.0, "thread", settings) as evaluator:
            evaluator.submit([{"x": 0}, {"x": 1}])
            with pytest.raises(KeyboardInterrupt):
                evaluator.gather("BATCH", 2)
            assert done == []
            assert len(evaluator.gather()) == 2
            assert sorted(done) == [0, 1]
            records = evaluator.results()
            assert [record.status for record in records] == [JobStatus.DONE] * 2
            assert all(record.timestamp_gather is not None for record in records)
