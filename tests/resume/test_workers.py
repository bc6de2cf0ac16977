"""Run-functions reach the storage of their evaluator, or are told why they cannot."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, RunningJob
from evalpool.errors import NotShareable, StorageUnavailable
from evalpool.storage import JournalStorage, MemoryStorage, NullStorage, RedisStorage, Storage
from storage.redis_server import RedisServer


@pytest.fixture(scope="session")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Worker processes of an executor; started before any test looks what it leaves behind."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        executor.submit(os.getpid).result()
        yield executor


@pytest.fixture(params=["serial", "thread", "process", "executor"])
def engine(request: pytest.FixtureRequest, pool: ProcessPoolExecutor) -> tuple[str, dict[str, Any]]:
    """A backend's name and what it needs."""
    return request.param, {"executor": pool} if request.param == "executor" else {}


def use_storage(job: RunningJob) -> int:
    job.storage.store_job_metadata(job.id, "pid", os.getpid())
    earlier = job.storage.load_metadata_from_all_jobs(job.id.partition(".")[0], "pid")
    return len(earlier)


@pytest.mark.slow
def test_a_run_function_uses_the_storage_wherever_it_runs(shared: Storage, engine: tuple[str, dict[str, Any]]) -> None:
    method, kwargs = engine
    with Evaluator.create(use_storage, method, {**kwargs, "storage": shared, "num_workers": 1}) as evaluator:
        evaluator.submit([{"x": x} for x in range(3)])
        jobs = evaluator.gather()
        assert sorted(job.objective for job in jobs) == [1, 2, 3], jobs[0].error
        assert {record.number: record.objective for record in evaluator.results()} == {
            job.number: job.objective for job in jobs
        }
        pids = shared.load_metadata_from_all_jobs(evaluator.search_id, "pid")
        assert pids == [job.worker.pid for job in sorted(jobs, key=lambda job: job.number)]
        assert (pids[0] == os.getpid()) is (method in ("serial", "thread"))


@pytest.mark.parametrize("method", ["serial", "thread"])
def test_a_memory_is_reached_from_threads(method: str) -> None:
    storage = MemoryStorage()
    with Evaluator.create(use_storage, method, {"storage": storage}) as evaluator:
        evaluator.submit([{"x": 0}])
        assert evaluator.gather()[0].objective == 1


@pytest.mark.parametrize("storage", [MemoryStorage(), NullStorage()], ids=["memory", "null"])
def test_a_storage_that_workers_cannot_reach_is_refused_with_the_name_of_one_that_can(storage: Storage) -> None:
    if not storage.keeps:  # nobody can expect to find something there
        with Evaluator.create(use_storage, "process", {"storage": storage}):
            return
    with pytest.raises(NotShareable, match=r"MemoryStorage is .* threads only.*SQLiteStorage\(path\)"):
        Evaluator.create(use_storage, "process", {"storage": storage})


def test_an_executor_of_threads_needs_no_more_than_threads() -> None:
    with ThreadPoolExecutor(1) as executor:
        settings = {"storage": MemoryStorage(), "executor": executor}
        with Evaluator.create(use_storage, "executor", settings) as evaluator:
            evaluator.submit([{"x": 0}])
            assert evaluator.gather()[0].objective == 1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["process", "executor"])
def test_the_default_storage_tells_a_worker_process_what_to_use_instead(method: str, pool: ProcessPoolExecutor) -> None:
    kwargs = {"executor": pool} if method == "executor" else {}
    with Evaluator.create(use_storage, method, kwargs) as evaluator:
        evaluator.submit([{"x": 0}])
        (job,) = evaluator.gather()
    assert job.objective == "F_NotShareable"
    assert "given none" in job.error
    assert "SQLiteStorage(path)" in job.error


@pytest.mark.slow
def test_a_store_made_by_a_run_function_is_found_by_the_search(tmp_path: Path) -> None:
    """Storing by hand beside what the evaluator stores: neither hides the other."""
    with JournalStorage(tmp_path / "runs") as storage:
        with Evaluator.create(_store_value, "process", {"storage": storage}) as evaluator:
            evaluator.submit([{"x": 5}])
            evaluator.gather()
            assert storage.load_search_value(evaluator.search_id, "best") == {"x": 5}
            assert storage.results()[0].metadata["curve"] == [1, 2, 3]


def _store_value(job: RunningJob) -> float:
    job.storage.store_search_value(job.id.partition(".")[0], "best", job.parameters)
    job.storage.store_job_metadata(job.id, "curve", [1, 2, 3])
    return 0.0


@pytest.mark.slow
def test_a_store_that_is_gone_costs_a_run_function_that_asks_for_it_its_job_alone(tmp_path: Path) -> None:
    with RedisServer.running() as server:
        with RedisStorage.from_url(server.url, timeout=0.2) as storage:
            settings = {"storage": storage, "num_workers": 1}
            with Evaluator.create(_ask_if_told, "process", settings) as evaluator:
                evaluator.submit([{"asks": True}])
                assert evaluator.gather()[0].objective == 1
                evaluator.submit([{"asks": asks, "flag": str(tmp_path / "go")} for asks in (True, False)])
                server.kill()
                (tmp_path / "go").touch()
                asked, other = sorted(evaluator.gather(), key=lambda job: job.number)
                assert asked.objective == f"F_{StorageUnavailable.__name__}"
                assert "does not answer" in asked.error
                assert other.objective == 0
                server.start()
                server.wait_ready()
                storage.flush()
                assert [record.status.name for record in evaluator.results()] == ["DONE", "FAILED", "DONE"]


def _ask_if_told(job: RunningJob) -> int:
    import threading

    pause = threading.Event()
    while "flag" in job and not os.path.exists(job["flag"]):
        pause.wait(0.01)
    return use_storage(job) if job["asks"] else 0
