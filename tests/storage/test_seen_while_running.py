"""Who watches a durable storage sees what happens while the search waits: starts, workers, intermediate results."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, JobStatus
from evalpool.storage import JournalStorage, SQLiteStorage, Storage

pytestmark = pytest.mark.slow

BOUND = 30.0


def waits_for_a_file(job: Any) -> float:
    job.record(1, 0.25)
    pause = threading.Event()
    while not Path(job["gate"]).exists():
        pause.wait(0.02)
    return 1.0


def seen(storage: Storage, happens: Callable[[Any], bool]) -> Any:
    """The record of the only job, as soon as it is as expected."""
    pause, tries = threading.Event(), 0
    while True:
        (record,) = storage.records("0")
        if happens(record):
            return record
        tries += 1
        assert tries < BOUND / 0.02, record
        pause.wait(0.02)


@pytest.mark.parametrize("method", ["thread", "process"])
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_running_job_is_seen_with_its_worker_and_its_records(method: str, kind: str, tmp_path: Path) -> None:
    def opened() -> Storage:
        return SQLiteStorage(tmp_path / "results.db") if kind == "sqlite" else JournalStorage(tmp_path / "runs")

    gate = tmp_path / "gate"
    with opened() as storage, Evaluator.create(waits_for_a_file, method, {"storage": storage}) as evaluator:
        evaluator.submit([{"gate": str(gate)}])
        waiting = threading.Thread(target=evaluator.gather)
        waiting.start()
        try:
            with opened() as other:
                record = seen(other, lambda record: bool(record.recorded))
                assert record.status is JobStatus.RUNNING
                assert record.recorded == [(1, 0.25)]
                assert record.worker == f"{method}-0"
                assert record.pid is not None
                assert record.timestamp_start is not None
                gate.touch()
                record = seen(other, lambda record: record.status is JobStatus.DONE)
                assert (record.objective, record.recorded) == (1.0, [(1, 0.25)])
        finally:
            gate.touch()
            waiting.join(BOUND)
        assert not waiting.is_alive()
