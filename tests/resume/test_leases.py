"""An evaluator's lease on its jobs: renewed while it lives, without holding up anything else."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evalpool import Evaluator, RunningJob
from evalpool.outcomes import FailureKind
from evalpool.storage import SQLiteStorage, Storage, new_owner

pytestmark = pytest.mark.slow


@pytest.fixture
def quick_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases for a third of a second."""
    monkeypatch.setattr("evalpool.evaluator._lease.TTL", 0.3)


@pytest.fixture
def hold() -> Iterator[Callable[[RunningJob], float]]:
    """A run-function that waits until the test is over, or the job is asked to stop."""
    over = threading.Event()

    def run(job: RunningJob) -> float:
        while not over.wait(0.01) and not job.stopped():
            pass
        return 0.0

    yield run
    over.set()


def _wait_until(condition: Callable[[], object]) -> None:
    pause, end = threading.Event(), time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end, "did not happen in 20 s"
        pause.wait(0.01)


def _leases(storage: Storage) -> list[float]:
    events, _ = storage.read(None)
    return [event.data["expires"] for event in events if event.kind == "lease"]


def test_a_search_that_thinks_for_long_keeps_its_lease(
    durable: Storage, quick_leases: None, hold: Callable[[RunningJob], float]
) -> None:
    with Evaluator.create(hold, "thread", {"storage": durable}) as evaluator:
        evaluator.submit([{"x": 0}, {"x": 1}])
        began = time.time()
        _wait_until(lambda: _leases(durable)[-1] > began + 1.0)
        assert durable.claim_lost(evaluator.search_id, new_owner()) == []
    assert _leases(durable)[-1] <= time.time()  # given up


def test_a_store_that_takes_long_holds_up_no_deadline(
    tmp_path: Path, quick_leases: None, hold: Callable[[RunningJob], float]
) -> None:
    with SQLiteStorage(tmp_path / "results.db", timeout=60) as storage:
        settings = {"storage": storage, "job_timeout": 1.0}
        with Evaluator.create(hold, "thread", settings) as evaluator:
            (job,) = evaluator.submit([{"x": 0}])
            other = sqlite3.connect(tmp_path / "results.db", isolation_level=None)
            try:
                other.execute("BEGIN IMMEDIATE")  # for longer than a lease; renewals wait for it
                _wait_until(lambda: job.is_done)
            finally:
                other.close()
            assert job.kind is FailureKind.TIMEOUT
            assert [job.id for job in evaluator.gather()] == [job.id]
        assert storage.results()[0].kind is FailureKind.TIMEOUT
