"""What a job costs does not grow with the jobs before it: counted in calls and in bytes, not in seconds."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workloads import as_a_search, as_an_iterator, calls, cancelling, in_bulk, run

from evalpool import Evaluator
from evalpool.callbacks import Callback, CSVLoggerCallback, LoggerCallback, ProfilingCallback, SearchEarlyStopping
from evalpool.storage import JournalStorage, MemoryStorage, NullStorage, SQLiteStorage

pytestmark = pytest.mark.slow

FEW, MANY = 1_000, 20_000
AT_MOST = 1.05
"""Cost of a job among many over its cost among few."""
KEPT = 200
"""Bytes that may be kept of a job that the caller has dropped."""


WAYS = [in_bulk, as_a_search, as_an_iterator, cancelling]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("storage", [NullStorage, MemoryStorage])
def test_calls_per_job_do_not_grow_with_the_number_of_jobs(
    way: Callable[[Evaluator, int], None], storage: Callable[[], Any]
) -> None:
    with Evaluator.create(run, "serial", {"storage": storage()}) as evaluator:

        def once(count: int) -> float:
            def action() -> None:
                way(evaluator, count)
                evaluator.gather()  # hears of the last starts
                evaluator.gather_other_jobs_done()  # reads what the storage was given

            return calls(action) / count

        once(50)  # imports, caches
        few, many, after = once(FEW), once(MANY), once(FEW)
    assert many <= AT_MOST * few
    assert after <= AT_MOST * few  # nor with the jobs that were


@pytest.mark.parametrize("watcher", ["csv", "profiling", "early stopping", "logger", "all hooks"])
def test_calls_per_job_do_not_grow_with_a_callback(watcher: str, tmp_path: Path) -> None:
    class All(Callback):
        def on_launch(self, job: Any) -> None: ...
        def on_start(self, job: Any) -> None: ...
        def on_record(self, job: Any, budget: float, objective: Any) -> None: ...
        def on_done(self, job: Any) -> None: ...
        def on_done_other(self, job: Any) -> None: ...
        def on_gather(self, local_jobs: Any, other_jobs: Any) -> None: ...

    callback = {
        "csv": lambda: CSVLoggerCallback(tmp_path / "results.csv"),
        "profiling": ProfilingCallback,
        "early stopping": lambda: SearchEarlyStopping(patience=10**6),
        "logger": LoggerCallback,
        "all hooks": All,
    }[watcher]()
    with Evaluator.create(run, "serial", {"callbacks": [callback]}) as evaluator:
        as_a_search(evaluator, 50)
        few = calls(lambda: as_a_search(evaluator, FEW)) / FEW
        many = calls(lambda: as_a_search(evaluator, 10 * FEW)) / (10 * FEW)
    assert many <= AT_MOST * few


@pytest.mark.parametrize("client", ["sqlite", "journal"])
def test_calls_per_job_do_not_grow_with_a_durable_storage(client: str, tmp_path: Path) -> None:
    storage: Any = SQLiteStorage(tmp_path / "results.db") if client == "sqlite" else JournalStorage(tmp_path / "runs")
    with storage, Evaluator.create(run, "serial", {"storage": storage}) as evaluator:
        as_a_search(evaluator, 50)
        few = calls(lambda: as_a_search(evaluator, FEW)) / FEW
        many = calls(lambda: as_a_search(evaluator, 5 * FEW)) / (5 * FEW)
    assert many <= 1.2 * few  # its own thread shares the work with the caller's as it comes


@pytest.mark.parametrize("way", [in_bulk, as_a_search, as_an_iterator], ids=lambda way: way.__name__)
@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_a_job_that_the_caller_has_dropped_leaves_almost_nothing(
    method: str, way: Callable[[Evaluator, int], None]
) -> None:
    count = 5_000
    with Evaluator.create(run, method, {"storage": NullStorage(), "num_workers": 2}) as evaluator:
        way(evaluator, 1_000)
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            way(evaluator, count)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (after - before) / count <= KEPT


def test_watchers_that_keep_no_job_keep_no_memory(tmp_path: Path) -> None:
    callbacks = [CSVLoggerCallback(tmp_path / "results.csv"), LoggerCallback(), SearchEarlyStopping(patience=10**6)]
    with Evaluator.create(run, "serial", {"storage": NullStorage(), "callbacks": callbacks}) as evaluator:
        as_a_search(evaluator, 1_000)
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            as_a_search(evaluator, 3_000)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (after - before) / 3_000 <= KEPT
