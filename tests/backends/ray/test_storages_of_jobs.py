"""Jobs on Ray reach every storage that says it is shared; the others are refused at construction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpool import NotShareable, RayEvaluator, RunningJob
from evalpool.storage import JournalStorage, MemoryStorage, RedisStorage, SharedMemoryStorage, SQLiteStorage, Storage
from storage.redis_server import RedisServer

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer.running() as server:
        yield server


def run(job: RunningJob) -> float:
    job.storage.store_search_value("0", f"seen {job['x']}", job["x"])
    return 2.0 * job["x"]


def read(job: RunningJob) -> float:
    return float(job.storage.load_search_value("0", "said"))


def test_jobs_reach_every_storage_that_says_it_is_shared(cluster: Any, server: RedisServer, tmp_path: Path) -> None:
    """This cluster is one host, so that a storage of this host is enough."""
    shared: list[Storage] = [
        JournalStorage(tmp_path / "journal"),
        RedisStorage.from_url(server.url),
        SQLiteStorage(tmp_path / "results.db"),
        SharedMemoryStorage(),
    ]
    for storage in shared:
        with storage, RayEvaluator(run, num_workers=1, storage=storage) as evaluator:
            evaluator.submit([{"x": n} for n in range(4)])
            assert sorted(job.objective for job in evaluator.gather()) == [0.0, 2.0, 4.0, 6.0]
            assert [storage.load_search_value("0", f"seen {n}") for n in range(4)] == [0, 1, 2, 3]
            assert len(storage.records("0")) == 4


def test_a_memory_of_this_process_is_refused_with_the_name_of_a_storage_that_reaches(cluster: Any) -> None:
    with MemoryStorage() as storage, pytest.raises(NotShareable, match=r"SharedMemoryStorage\(\) or SQLiteStorage"):
        RayEvaluator(run, num_workers=1, storage=storage)


def test_on_several_hosts_a_storage_of_one_host_is_refused_with_the_name_of_one_that_reaches(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.util, "get_node_ip_address", lambda: "192.0.2.1")  # so the node is another host
    alone: list[Storage] = [SharedMemoryStorage(), SQLiteStorage(tmp_path / "results.db")]
    for storage in alone:
        with storage, pytest.raises(NotShareable, match=r"Use JournalStorage\(directory\) on a shared file system"):
            RayEvaluator(run, num_workers=1, storage=storage)


def test_a_worker_of_a_host_that_joined_later_is_told_that_the_storage_is_another_hosts(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalpool.backends._ray._backend.host_identity", lambda: "another host")
    with (
        SQLiteStorage(tmp_path / "results.db") as storage,
        RayEvaluator(read, num_workers=1, storage=storage) as evaluator,
    ):
        evaluator.submit([{}])
        (job,) = evaluator.gather()
    assert job.objective == "F_NotShareable"
    assert "JournalStorage(directory)" in job.error
