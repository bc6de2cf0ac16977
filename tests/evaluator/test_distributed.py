"""Evaluators of independent clients on one search; those on MPI ranks are in tests/backends/mpi."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpool import BadArgument, MaximumJobsSpawnReached, ThreadPoolEvaluator, distributed
from evalpool.callbacks import CSVLoggerCallback
from evalpool.storage import MemoryStorage, SharedMemoryStorage, Storage

Distributed: Any = distributed("storage")(ThreadPoolEvaluator)


def double(job: Any) -> float:
    return 2.0 * job["x"]


@pytest.fixture
def storage() -> Iterator[Storage]:
    with SharedMemoryStorage() as storage:
        yield storage


def test_each_hears_once_of_what_the_others_finished(storage: Storage) -> None:
    with (
        Distributed(double, storage=storage) as first,
        Distributed(double, storage=storage, search_id=first.search_id) as second,
    ):
        first.submit([{"x": 0}, {"x": 1}])
        first.gather()
        second.submit([{"x": 5}])
        (own,) = second.gather()
        assert own.id == f"{first.search_id}.2"
        assert sorted(job.objective for job in second.gather_other_jobs_done()) == [0.0, 2.0]
        assert second.gather_other_jobs_done() == []
        assert [job.objective for job in first.gather_other_jobs_done()] == [10.0]


def test_others_are_looked_for_every_so_many_jobs(storage: Storage) -> None:
    gate = threading.Event()

    def run(job: Any) -> float:
        assert job["x"] != "wait" or gate.wait(30)
        return 1.0

    with (
        Distributed(double, storage=storage) as first,
        Distributed(run, storage=storage, search_id="latest", share_freq=3, num_workers=2) as second,
    ):
        first.submit([{"x": 1}])
        first.gather()
        second.submit([{"x": "wait"}])
        heard = []
        for n in range(3):
            second.submit([{"x": n}])
            second.gather("BATCH", 1)
            heard.append(len(second.gather_other_jobs_done()))
        gate.set()
        assert heard == [0, 0, 1]


def test_it_knows_who_takes_part_now(storage: Storage) -> None:
    with Distributed(double, storage=storage, num_workers=2) as first:
        second = Distributed(double, storage=storage, search_id="latest", num_workers=3)
        assert (first.rank, second.rank) == (0, 1)
        assert (first.size, first.num_total_workers) == (2, 5) == (second.size, second.num_total_workers)
        second.close()
        assert (first.size, first.num_total_workers) == (1, 2)


def test_only_the_first_writes_tables_unless_asked(storage: Storage, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("first.csv", "second.csv", "asked.csv")]
    tables = [CSVLoggerCallback(path) for path in paths]
    with (
        Distributed(double, storage=storage, callbacks=[tables[0]]) as first,
        Distributed(double, storage=storage, search_id="latest", callbacks=[tables[1]]) as second,
        Distributed(
            double, storage=storage, search_id="latest", callbacks=[tables[2]], tables_everywhere=True
        ) as asked,
    ):
        for evaluator in (second, asked, first):
            evaluator.submit([{"x": 1}])
            evaluator.gather()
    assert [path.exists() for path in paths] == [True, False, True]


def test_the_cap_is_exact_over_all_of_them(storage: Storage) -> None:
    with (
        Distributed(double, storage=storage) as first,
        Distributed(double, storage=storage, search_id="latest") as second,
    ):
        for evaluator in (first, second):
            evaluator.set_maximum_num_jobs_submitted(3)
        first.submit([{"x": 1}, {"x": 2}])
        with pytest.raises(MaximumJobsSpawnReached):
            second.submit([{"x": 1}, {"x": 2}])
        second.submit([{"x": 1}])


def test_wrong_use_says_what_to_do() -> None:
    assert Distributed.__name__ == "DistributedThreadPoolEvaluator"
    with pytest.raises(BadArgument, match="SQLiteStorage"):
        Distributed(double)
    with pytest.raises(BadArgument, match="MemoryStorage"):
        Distributed(double, storage=MemoryStorage())
    with pytest.raises(BadArgument, match="'ray'"):
        distributed("ray")
    with pytest.raises(BadArgument, match="evaluator class"):
        distributed("mpi")(double)  # type: ignore[type-var]


@pytest.mark.parametrize("backend", ["mpi", "storage"])
def test_a_class_is_distributed_once(backend: str) -> None:
    with pytest.raises(BadArgument, match="DistributedThreadPoolEvaluator is distributed already"):
        distributed(backend)(Distributed)
