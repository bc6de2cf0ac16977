"""The writer: commits of several batches, in order, and nothing lost that nobody waits for."""

import gc
import logging
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from evalpool.errors import StorageError, StorageUnavailable
from evalpool.storage import _writer
from evalpool.storage._writer import Writer


class Disk:
    """Where batches go; can be full, and can be blocked until a test unblocks it."""

    def __init__(self) -> None:
        self.commits: list[list[int]] = []
        self.full = False
        self.entered = threading.Event()
        self.unblocked = threading.Event()
        self.unblocked.set()

    def commit(self, batches: list[int]) -> None:
        self.entered.set()
        assert self.unblocked.wait(10)
        if self.full:
            raise StorageUnavailable("the disk is full")
        self.commits.append(list(batches))

    @property
    def written(self) -> list[int]:
        return [batch for commit in self.commits for batch in commit]


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_what_was_appended_is_committed_on_return(disk: Disk) -> None:
    writer = Writer(disk.commit, "disk")
    writer.append(1)
    writer.append(2)
    assert disk.commits == [[1], [2]]


def test_what_gathers_during_a_commit_is_one_commit(disk: Disk) -> None:
    writer = Writer(disk.commit, "disk")
    disk.unblocked.clear()
    first = threading.Thread(target=writer.append, args=(0,))
    first.start()
    assert disk.entered.wait(10)
    for batch in range(1, 6):
        writer.append_soon(batch)
    disk.unblocked.set()
    writer.flush()
    first.join()
    writer.close()
    assert disk.commits[0] == [0]
    assert disk.written == [0, 1, 2, 3, 4, 5]
    assert len(disk.commits) <= 3


def test_appending_soon_does_not_wait_for_the_disk(disk: Disk) -> None:
    writer = Writer(disk.commit, "disk")
    disk.unblocked.clear()
    writer.append_soon(1)
    assert disk.entered.wait(10)
    writer.append_soon(2)  # would wait for ever
    disk.unblocked.set()
    writer.close()
    assert disk.written == [1, 2]


def test_a_commit_that_fails_fails_who_waits_and_is_not_repeated(disk: Disk) -> None:
    writer = Writer(disk.commit, "disk")
    disk.full = True
    with pytest.raises(StorageUnavailable, match="full"):
        writer.append(1)
    disk.full = False
    writer.append(2)
    assert disk.written == [2]


def test_what_nobody_waits_for_is_kept_and_written_first_when_it_can_be(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(disk.commit, "disk")
    disk.full = True
    writer.append_soon(1)
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            writer.flush()
    writer.append_soon(2)
    with pytest.raises(StorageUnavailable):
        writer.append(3)
    disk.full = False
    writer.append(4)
    writer.close()
    assert disk.written == [1, 2, 4]
    messages = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in messages] == [logging.ERROR, logging.WARNING]  # said once each
    assert "kept in memory" in messages[0][1]


@pytest.mark.slow
def test_the_thread_itself_tries_again(disk: Disk) -> None:
    writer = Writer(disk.commit, "disk")
    disk.full = True
    writer.append_soon(1)
    assert disk.entered.wait(10)
    disk.full = False
    done = threading.Event()
    commit = disk.commit

    def commit_and_say(batches: list[int]) -> None:
        commit(batches)
        done.set()

    writer._commit = commit_and_say
    assert done.wait(10)
    writer.close()
    assert disk.written == [1]


def test_closing_tells_what_is_lost(disk: Disk) -> None:
    writer = Writer(disk.commit, "disk")
    disk.full = True
    writer.append_soon(1)
    with pytest.raises(StorageUnavailable, match="full"):
        writer.close()
    writer.close()


@pytest.mark.slow
def test_an_idle_thread_ends_and_the_writer_can_be_forgotten(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writer, "IDLE", 0.01)
    writer = Writer(disk.commit, "disk")
    writer.append_soon(1)
    thread = writer._thread
    if thread is not None:
        thread.join(10)
        assert not thread.is_alive()
    writer.append_soon(2)
    writer.flush()
    thread = writer._thread
    if thread is not None:
        thread.join(10)
    forgotten = weakref.ref(writer)
    del writer, thread
    gc.collect()
    assert forgotten() is None
    assert disk.written == [1, 2]


def test_many_threads_each_find_their_batch_committed(disk: Disk) -> None:
    writer = Writer(disk.commit, "disk")

    def work(first: int) -> None:
        for batch in range(first, first + 50):
            writer.append(batch)
            assert batch in disk.written

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(disk.written) == 200
    assert len(set(disk.written)) == 200
    for n in range(4):
        mine = [batch for batch in disk.written if batch // 1000 == n]
        assert mine == sorted(mine)


@pytest.mark.slow
def test_a_program_that_ends_without_closing_loses_nothing(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from evalpool.storage import Event, SQLiteStorage
storage = SQLiteStorage({str(tmp_path / "results.db")!r})
search_id = storage.create_new_search()
for number in range(20):
    storage.append_soon([Event("created", search_id, number, {{}})])
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    from evalpool.storage import SQLiteStorage

    with SQLiteStorage(tmp_path / "results.db") as storage:
        assert len(storage.load_all_job_ids("0")) == 20


def test_a_batch_that_cannot_be_written_keeps_no_other_back(caplog: pytest.LogCaptureFixture) -> None:
    written: list[int] = []
    errors = {3: MemoryError("just now")}

    def commit(batches: list[int]) -> None:
        if 2 in batches:
            raise TypeError("nobody foresaw this")
        for batch in batches:
            if batch in errors:
                raise errors.pop(batch)
        written.extend(batches)

    writer = Writer(commit, "disk")
    with writer.commit_lock:  # so that they gather
        for batch in range(1, 6):
            writer.append_soon(batch)
    writer.close()
    assert written == [1, 3, 4, 5]
    assert any("these records are lost: 2" in record.getMessage() for record in caplog.records)


def test_what_a_commit_raises_is_a_storage_error_for_who_waits() -> None:
    def commit(batches: list[int]) -> None:
        raise TypeError("nobody foresaw this")

    writer = Writer(commit, "disk")
    with pytest.raises(StorageError, match="disk could not write: TypeError: nobody foresaw this"):
        writer.append(1)
    writer.close()


def test_the_thread_leaves_batches_to_a_caller_that_commits_soon(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a search loop each `gather` commits what was queued before it, so the thread has nothing to do."""
    monkeypatch.setattr(_writer, "GROUP", 3600.0)
    writer = Writer(disk.commit, "disk")
    for number in range(20):
        writer.append_soon(number)
        writer.append(-number)
    assert disk.commits == [[number, -number] for number in range(20)]
    writer.append_soon(20)
    writer.close()  # does not wait for the thread's hour
    assert disk.commits[20:] == [[20]]


def test_the_thread_writes_what_no_caller_commits() -> None:
    written = threading.Event()
    commits: list[list[int]] = []

    def commit(batches: list[int]) -> None:
        commits.append(batches)
        written.set()

    writer = Writer(commit, "disk")
    for number in range(5):
        written.clear()
        writer.append_soon(number)
        assert written.wait(10)
    writer.close()
    assert commits == [[0], [1], [2], [3], [4]]
