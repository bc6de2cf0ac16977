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


def test_jobs_reach_every_storage_that_says_it_is_shared(cluster: Any, server: RedisServer, tmp_path: Path) -> None:
    shared: list[Storage] = [JournalStorage(tmp_path / "journal"), RedisStorage.from_url(server.url)]
    for storage in shared:
        with storage, RayEvaluator(run, num_workers=1, storage=storage) as evaluator:
            evaluator.submit([{"x": n} for n in range(4)])
            assert sorted(job.objective for job in evaluator.gather()) == [0.0, 2.0, 4.0, 6.0]
            assert [storage.load_search_value("0", f"seen {n}") for n in range(4)] == [0, 1, 2, 3]
            assert len(storage.records("0")) == 4


def test_those_that_do_not_reach_over_a_cluster_are_refused_with_the_name_of_one_that_does(
    cluster: Any, tmp_path: Path
) -> None:
    alone: list[Storage] = [MemoryStorage(), SharedMemoryStorage(), SQLiteStorage(tmp_path / "results.db")]
    for storage in alone:
        with storage, pytest.raises(NotShareable, match=r"Use RayStorage\(\) or RedisStorage\(host\)"):
            RayEvaluator(run, num_workers=1, storage=storage)
