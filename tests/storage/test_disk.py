"""Disks that are full and directories that may not be written."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalpool.errors import StorageUnavailable
from evalpool.outcomes import JobStatus
from evalpool.storage import Event, JournalStorage, SQLiteStorage, Storage
from storage.workloads import workloads


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a file system; the limit on the size of files is tested instead")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _open(kind: str, directory: Path) -> Storage:
    return SQLiteStorage(directory / "results.db") if kind == "sqlite" else JournalStorage(directory / "runs")


@pytest.fixture(params=["sqlite", "journal"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _append_job(storage: Storage, search_id: str) -> int:
    number = storage.reserve(search_id, 1)
    storage.append([Event("created", search_id, number, {"args": {"x": "y" * 3000}})])
    return number


def _append_for_ever(storage: Storage, search_id: str, kept: list[int]) -> None:
    while True:
        kept.append(_append_job(storage, search_id))


@pytest.mark.slow
def test_a_full_disk_refuses_what_does_not_fit_and_loses_nothing_else(kind: str, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with _open(kind, small_disk) as storage:
        search_id = storage.create_new_search()
        ballast.write_bytes(b"x" * 300_000)
        kept: list[int] = []
        with pytest.raises(StorageUnavailable, match="full"):
            _append_for_ever(storage, search_id, kept)
        assert len(kept) > 20
        storage.append_soon([Event("finished", search_id, 0, {"objective": 0.5, "error": "z" * 5000})])
        with pytest.raises(StorageUnavailable, match="full"):
            storage.flush()
        assert [record.number for record in storage.records(search_id)] == kept

        ballast.unlink()

        storage.flush()
        assert storage.load_job_status(f"{search_id}.0") is JobStatus.DONE
        kept.append(_append_job(storage, search_id))
    with _open(kind, small_disk) as storage:
        assert [record.number for record in storage.records(search_id)] == kept


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_the_same(kind: str, tmp_path: Path) -> None:
    with _open(kind, tmp_path) as storage:
        search_id = storage.create_new_search()
        with workloads(1, "fill", storage, search_id, 300_000) as [process]:
            kept = int(process.line())
            message, *rest = process.rest()
        assert kept > 10
        assert str(tmp_path) in message
        assert rest == ["kept back", "DONE"]
        assert len(storage.records(search_id)) == kept


@pytest.mark.slow
def test_a_directory_that_may_not_be_written_is_refused_at_construction(kind: str, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageUnavailable, match=r"read-only|cannot be written"):
        _open(kind, small_disk)
    assert os.listdir(small_disk) == []


@pytest.mark.slow
def test_results_on_a_disk_that_became_read_only_can_be_read(small_disk: Path) -> None:
    with JournalStorage(small_disk / "runs") as storage:
        search_id = storage.create_new_search()
        job_id = storage.create_new_job(search_id)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with JournalStorage(small_disk / "runs") as storage:
        assert storage.load_all_job_ids(search_id) == [job_id]
        with pytest.raises(StorageUnavailable, match="read-only"):
            storage.create_new_job(search_id)
