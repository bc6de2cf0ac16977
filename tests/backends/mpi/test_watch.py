"""The watch over other ranks' processes, without MPI."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from collections.abc import Iterator

import pytest

from evalpool._mpi import _watch
from evalpool._mpi._watch import RankWatch

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no pidfd on this system")


@pytest.fixture
def rank() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its standard input is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[int]:
    monkeypatch.setattr(_watch, "LAUNCHER_WITHIN", 0.05)
    return queue.Queue()


def test_the_end_of_a_process_is_told_with_its_rank(rank: subprocess.Popen[bytes], told: queue.Queue[int]) -> None:
    watch = RankWatch([(0, os.getpid()), (7, rank.pid)], told.put)
    assert told.empty()
    rank.kill()
    assert told.get(timeout=20) == 7
    watch.stop()


def test_after_stop_no_end_is_told_and_no_descriptor_is_left(
    rank: subprocess.Popen[bytes], told: queue.Queue[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: queue.Queue[None] = queue.Queue()
    close = RankWatch._close
    monkeypatch.setattr(RankWatch, "_close", lambda watch: (close(watch), closed.put(None)))
    before = os.listdir("/proc/self/fd")
    for ends in (False, True):
        watch = RankWatch([(7, rank.pid)], told.put)
        watch.stop()
        watch.stop()
        if ends:
            rank.kill()
        closed.get(timeout=20)
    assert os.listdir("/proc/self/fd") == before
    assert told.empty()


def test_a_process_that_ends_while_it_is_watched_and_stopped_in_time_is_not_told(
    rank: subprocess.Popen[bytes], told: queue.Queue[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_watch, "LAUNCHER_WITHIN", 30.0)
    closed: queue.Queue[None] = queue.Queue()
    close = RankWatch._close
    monkeypatch.setattr(RankWatch, "_close", lambda watch: (close(watch), closed.put(None)))
    watch = RankWatch([(7, rank.pid)], told.put)
    rank.kill()
    rank.wait()
    watch.stop()
    closed.get(timeout=20)
    assert told.empty()


def test_where_processes_cannot_be_watched_nothing_is(told: queue.Queue[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "pidfd_open", refuse)
    RankWatch([(0, os.getpid())], told.put).stop()
    assert os.listdir("/proc/self/fd") == before
