"""Intermediate results are in the records of every storage that keeps any, once their job was gathered."""

from collections.abc import Callable
from pathlib import Path

import pytest

from evalpool import Evaluator, RunningJob
from evalpool.storage import JournalStorage, MemoryStorage, SharedMemoryStorage, SQLiteStorage, Storage

STORAGES: dict[str, Callable[[Path], Storage | None]] = {
    "own": lambda directory: None,
    "memory": lambda directory: MemoryStorage(),
    "shared memory": lambda directory: SharedMemoryStorage(),
    "sqlite": lambda directory: SQLiteStorage(directory / "results.db"),
    "journal": lambda directory: JournalStorage(directory / "runs"),
}


@pytest.mark.parametrize("method", ["serial", "thread"])
@pytest.mark.parametrize("kind", STORAGES)
def test_the_records_of_a_gathered_job_hold_what_its_last_attempt_recorded(
    kind: str, method: str, tmp_path: Path
) -> None:
    calls: list[int] = []

    def run(job: RunningJob) -> float:
        calls.append(job["x"])
        for budget in range(2):
            job.record(budget, 10 * calls.count(job["x"]) + budget)
        if job["x"] == 1 and calls.count(1) == 1:
            raise ValueError("the first attempt")
        return 1.0

    storage = STORAGES[kind](tmp_path)
    with Evaluator.create(run, method, {"storage": storage, "retries": 1}) as evaluator:
        evaluator.submit([{"x": 0}, {"x": 1}])
        evaluator.gather()
        records = [(record.recorded, record.attempts) for record in evaluator.storage.results()]
    if storage is not None:
        storage.close()
    assert records == [([(0, 10), (1, 11)], 1), ([(0, 20), (1, 21)], 2)]
