"""Stores that return to an earlier state while used: a restored snapshot or backup, a copy that lacks something."""

import logging
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evalpool import Evaluator, Job
from evalpool.errors import StorageUnavailable
from evalpool.storage import Event, JournalStorage, RedisStorage, SQLiteStorage, Storage
from storage.redis_server import RedisServer


class _Place:
    """A store that can be saved, and set back to what it was then."""

    def __init__(self, open: Callable[[], Storage], save: Callable[[], None], restore: Callable[[], None]) -> None:
        self.open, self.save, self.restore = open, save, restore


def _redis(server: RedisServer) -> _Place:
    def save() -> None:
        with server.client() as client:
            client.save()

    def restore() -> None:
        server.kill()
        server.start()

    return _Place(lambda: RedisStorage.from_url(server.url), save, restore)


def _sqlite(path: Path) -> _Place:
    """A backup that is copied over the file in place, while clients have it open."""
    backup = path.with_name("backup.db")

    def checkpoint() -> None:
        """Move all that was written into the file itself, as happens every thousand pages."""
        db = sqlite3.connect(path)
        try:
            (busy, written, moved) = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            db.close()
        assert (busy, moved) == (0, written)

    def save() -> None:
        checkpoint()
        shutil.copyfile(path, backup)

    def restore() -> None:
        checkpoint()
        shutil.copyfile(backup, path)

    return _Place(lambda: SQLiteStorage(path), save, restore)


@pytest.fixture(params=["redis", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[_Place]:
    if request.param == "sqlite":
        yield _sqlite(tmp_path / "results.db")
    else:
        with RedisServer.running("--appendonly", "no") as server:
            yield _redis(server)


def _identity(job: object) -> float:
    return float(job["x"])  # type: ignore[index]


def test_numbers_are_never_given_again_and_what_was_lost_is_said_and_recorded_again(place: _Place) -> None:
    with place.open() as storage:
        with Evaluator.create(_identity, "thread", {"storage": storage}) as evaluator:
            evaluator.submit([{"x": x} for x in range(3)])
            jobs = evaluator.gather()
            place.save()
            evaluator.submit([{"x": x} for x in range(3, 6)])
            jobs += evaluator.gather()
            evaluator.gather_other_jobs_done()  # all is read
            place.restore()
            with pytest.raises(StorageUnavailable, match=r"lost records of jobs: 0\.3, 0\.4, 0\.5\."):
                evaluator.submit([{"x": 6}])
            evaluator.submit([{"x": 6}, {"x": 7}])
            jobs += evaluator.gather()
        assert len({job.id for job in jobs}) == len(jobs) == 8
        with place.open() as other:
            assert {record.job_id: record.objective for record in other.results()} == {
                job.id: job.objective for job in jobs
            }


def test_jobs_that_ran_when_their_store_was_set_back_end_and_are_recorded(place: _Place) -> None:
    goes_on = threading.Event()
    both_run = threading.Barrier(3)

    def run(job: object) -> float:
        if not goes_on.is_set():
            both_run.wait(60)
        assert goes_on.wait(60)
        return _identity(job)

    with place.open() as storage:
        with Evaluator.create(run, "thread", {"storage": storage, "num_workers": 2}) as evaluator:
            place.save()
            evaluator.submit([{"x": x} for x in range(3)])
            both_run.wait(60)
            storage.flush()  # that they began
            place.restore()
            with pytest.raises(StorageUnavailable, match=r"0\.0, 0\.1, 0\.2"):
                evaluator.gather_other_jobs_done()
            assert evaluator.gather_other_jobs_done() == []
            goes_on.set()
            jobs = evaluator.gather()
        assert sorted(job.objective for job in jobs) == [0, 1, 2]
        with place.open() as other:
            assert [(r.job_id, r.objective) for r in other.results()] == [("0.0", 0), ("0.1", 1), ("0.2", 2)]


def test_a_client_that_only_looks_says_what_was_lost_and_writes_nothing(place: _Place) -> None:
    with place.open() as storage:
        search = storage.create_new_search()
        place.save()
        number = storage.reserve(search, 1)
        storage.append([Event("created", search, number, {"args": {}})])
        with place.open() as looks:
            assert looks.load_all_job_ids(search) == ["0.0"]
            place.restore()
            with pytest.raises(StorageUnavailable, match=r"jobs: 0\.0\.") as told:
                looks.load_all_job_ids(search)
            assert told.value.lost == ["0.0"]  # type: ignore[attr-defined]
            assert looks.load_all_job_ids(search) == []


def test_a_server_that_forgot_the_search_is_told_of_it_again(redis_server: RedisServer) -> None:
    with RedisStorage.from_url(redis_server.url) as storage:
        with Evaluator.create(_identity, "thread", {"storage": storage}) as evaluator:
            evaluator.submit([{"x": 0}])
            [job] = evaluator.gather()
            redis_server.empty()
            with pytest.raises(StorageUnavailable, match=r"jobs: 0\.0\."):
                evaluator.submit([{"x": 1}])
            evaluator.submit([{"x": 1}])
            [other] = evaluator.gather()
        assert (job.id, other.id) == ("0.0", "0.1")
        with RedisStorage.from_url(redis_server.url) as other_client:
            assert other_client.load_all_job_ids("0") == ["0.0", "0.1"]


@pytest.mark.parametrize("keeps_directories", [True, False])
def test_a_copy_of_a_journal_without_its_links_goes_on_with_new_numbers(
    keeps_directories: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with JournalStorage(tmp_path / "runs") as storage:
        with Evaluator.create(_identity, "thread", {"storage": storage}) as evaluator:
            evaluator.submit([{"x": x} for x in range(3)])
            evaluator.gather()
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "runs", copy, symlinks=True)
    for link in (copy / "numbers").glob("*/*"):
        link.unlink()
    if not keeps_directories:
        shutil.rmtree(copy / "numbers")
    with JournalStorage(copy) as storage, caplog.at_level(logging.WARNING, "evalpool"):
        options = {"storage": storage, "search_id": "0"}
        with Evaluator.create(_identity, "thread", options) as evaluator:
            evaluator.submit([{"x": 3}, {"x": 4}])
            jobs: list[Job[float]] = evaluator.gather()
        assert [job.id for job in jobs] == ["0.3", "0.4"]
        assert "gave number 0 of search 0 again; the next number will be 3" in caplog.text
        assert storage.create_new_search() == "1"
        assert storage.load_all_job_ids("0") == [f"0.{number}" for number in range(5)]
