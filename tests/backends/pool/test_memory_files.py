"""Files in memory are written again only when nobody reads them, whoever that was."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import numpy as np
import pytest

from evalpool import ProcessPoolEvaluator
from evalpool.backends._pool import _lend, _memory_files, _wire
from evalpool.backends._pool._memory_files import MemoryFiles
from evalpool.storage import NullStorage

pytestmark = pytest.mark.skipif(not _lend.can_lend(), reason="this system has no files in memory")

SIZE = 4 * _lend.LEAST


@pytest.fixture
def files() -> MemoryFiles:
    return MemoryFiles(2, 16 * SIZE)


def written(files: MemoryFiles, value: int, size: int = SIZE) -> tuple[int, int]:
    """Write a file full of this value; return its number (inode) and a reader's descriptor."""
    file = files.take(size)
    os.pwrite(file.fd, bytes([value]) * size, 0)
    file.grow(size)
    number = os.fstat(file.fd).st_ino
    return number, files.give(file)


def read(fd: int, size: int = SIZE) -> memoryview:
    """The receiver's part."""
    view = _lend.mapped(fd, size)
    os.close(fd)
    return view


def test_a_file_is_written_again_when_its_reader_has_gone(files: MemoryFiles) -> None:
    first, fd = written(files, 1)
    view = read(fd)
    second, fd = written(files, 2)
    other = read(fd)
    assert second != first
    assert (view[0], view[-1], other[0]) == (1, 1, 2)
    del view
    third, fd = written(files, 3)
    assert third == first
    assert read(fd)[-1] == 3
    assert other[-1] == 2


def test_a_descriptor_that_nobody_received_yet_is_a_reader(files: MemoryFiles) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        first, fd = written(files, 1)
        socket.send_fds(ours, [b"x"], [fd])
        os.close(fd)
        second, fd = written(files, 2)
        os.close(fd)
        assert second != first
        theirs.close()  # as when its process is killed
        numbers = {first, second}
        for value in (3, 4):  # both are free
            number, fd = written(files, value)
            numbers.discard(number)
            read(fd).release()
        assert len(numbers) <= 1
        assert {written(files, 5)[0], written(files, 6)[0]} == {first, second}


def test_a_forked_child_of_the_reader_is_a_reader_until_it_is_killed(files: MemoryFiles) -> None:
    first, fd = written(files, 1)
    view = read(fd)
    child = os.fork()
    if not child:
        signal.pause()
    try:
        del view
        second, fd = written(files, 2)
        os.close(fd)
        assert second != first
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    keep = written(files, 3)
    assert {keep[0], written(files, 4)[0]} == {first, second}


def test_a_forked_child_writes_new_files_only(files: MemoryFiles) -> None:
    number, fd = written(files, 1)
    os.close(fd)
    child = os.fork()
    if not child:
        os._exit(written(files, 2)[0] == number)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    again, fd = written(files, 3)
    os.close(fd)
    assert again == number


def test_only_so_many_and_so_large_files_are_kept() -> None:
    before = len(os.listdir("/proc/self/fd"))
    files = MemoryFiles(2, 3 * SIZE)
    readers = [written(files, value)[1] for value in range(5)]
    assert len(os.listdir("/proc/self/fd")) == before + 5 + 2
    readers.append(written(files, 0, 4 * SIZE)[1])  # is larger than all may be: its only descriptor is the reader's
    assert len(os.listdir("/proc/self/fd")) == before + 6 + 2
    readers.append(written(files, 0, 2 * SIZE)[1])
    assert len(os.listdir("/proc/self/fd")) == before + 7 + 2
    readers.append(written(files, 0, 2 * SIZE)[1])  # both of 2 are more than 3
    assert len(os.listdir("/proc/self/fd")) == before + 8 + 1
    for fd in readers:
        os.close(fd)
    del files
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_much_larger_than_needed_is_not_written_again(files: MemoryFiles) -> None:
    large, fd = written(files, 1, 8 * SIZE)
    os.close(fd)
    small, fd = written(files, 2)
    os.close(fd)
    assert small != large
    assert written(files, 3, 4 * SIZE)[0] in {large, small}


def test_a_shorter_frame_in_a_used_file_is_whole(files: MemoryFiles) -> None:
    for size in (SIZE, SIZE // 2, SIZE):
        value = np.random.default_rng(size).integers(0, 255, size, np.uint8)
        lent = _lend.lend(_wire.ONE_JOB, (1, 1), *_wire.dump(value), files)
        assert lent is not None
        frames: list[_wire.Frame] = []
        _wire.FrameReader.parse(memoryview(b"".join(_lend.copy_back(lent))), frames)
        np.testing.assert_array_equal(_wire.load(*frames[0][1:]), value)
        lent.close()


def test_without_a_file_system_of_processes_each_file_is_new(
    files: MemoryFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Any, *rest: Any) -> int:
        raise FileNotFoundError(path)

    monkeypatch.setattr(_memory_files.os, "open", refused)
    first, fd = written(files, 1)
    os.close(fd)
    assert not files._kept
    assert first


CACHE: list[Any] = []


def remember(job: Any) -> dict[str, Any]:
    if job["n"] % 2:
        CACHE.append((job["n"], job["it"]))
    wrong = [n for n, array in CACHE if (array != n).any()]
    return {"objective": float(len(wrong)), "metadata": {"it": job["it"] + np.uint8(100)}}


def test_arrays_that_a_run_function_or_the_search_keeps_stay_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    create = os.memfd_create
    monkeypatch.setattr(os, "memfd_create", lambda *given: made.append(given) or create(*given))
    kept, submitted = [], 4
    with ProcessPoolEvaluator(remember, num_workers=2, storage=NullStorage()) as evaluator:
        evaluator.submit([{"n": n, "it": np.full(SIZE, n, np.uint8)} for n in range(submitted)])
        while evaluator.num_jobs_gathered < submitted:
            for job in evaluator.gather("BATCH", 1):
                assert job.objective == 0.0, job.error
                if job.args["n"] % 3:
                    kept.append((job.args["n"], job.metadata["it"]))
                if submitted < 100:
                    evaluator.submit([{"n": submitted, "it": np.full(SIZE, submitted, np.uint8)}])
                    submitted += 1
    assert len(kept) == 66
    assert all((array == n + 100).all() for n, array in kept)
    # A worker keeps every second array. The others' files are written again.
    assert 50 <= len(made) <= 85
