"""Outcomes of short jobs that leave a worker together: none is lost with it, and none waits behind a long job."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, FailureKind, JobStatus, RunningJob
from evalpool._clock import monotonic
from evalpool.backends._pool import _held, _pool, _prefetcher, _sockets, _wire
from evalpool.backends._pool._held import HeldOutcomes, read_held
from evalpool.backends._pool._pool_worker import PoolWorker
from evalpool.outcomes import Worker
from faults.programs import wait_until

OUTCOMES = [(number, 1, number / 2, 0.25, 0.5) for number in range(200)]


def page() -> memoryview:
    return memoryview(bytearray(_held.SIZE))


def test_what_is_held_is_read_as_it_was_written_until_it_is_sent() -> None:
    memory = page()
    held = HeldOutcomes(memory)
    held.begin()
    assert read_held(memory) == []
    assert held.frame() == b""
    for outcome in OUTCOMES[:3]:
        held.add(*outcome)
    assert read_held(memory) == OUTCOMES[:3]
    frames: list[_wire.Frame] = []
    _wire.FrameReader.parse(memoryview(held.frame()), frames)
    assert frames == [(_wire.FAST_OUTCOME, OUTCOMES[:3], [])]
    held.sent()
    assert read_held(memory) == []
    held.add(*OUTCOMES[7])
    assert read_held(memory) == [OUTCOMES[7]]


def test_all_leave_when_the_page_is_full_or_the_oldest_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_held, "HOLD", 1e9)
    held = HeldOutcomes(page())
    held.begin()
    at_once = [(*outcome[:-1], monotonic()) for outcome in OUTCOMES]
    count = 1 + [held.add(*outcome) for outcome in at_once[:113]].index(False)
    assert count > 100
    held = HeldOutcomes(memory := page())
    held.begin()
    assert [held.add(*outcome) for outcome in at_once[:count]] == [True] * (count - 1) + [False]
    assert read_held(memory) == at_once[:count], "the last one, too, before it is sent"
    held.sent()
    monkeypatch.setattr(_held, "HOLD", -1.0)
    assert not held.add(*at_once[0])


def test_what_leaves_while_it_is_read_is_not_taken() -> None:
    class Racing(bytearray):
        def __getitem__(self, where: Any) -> Any:
            held.sent()
            held.add(*OUTCOMES[1])
            return super().__getitem__(where)

    memory: Any = Racing(_held.SIZE)
    held = HeldOutcomes(memory)
    held.begin()
    held.add(*OUTCOMES[0])
    assert read_held(memory) == []


@pytest.mark.parametrize("unread", [True, False])
@pytest.mark.parametrize("has_page", [True, False])
def test_it_is_known_whether_a_worker_that_ended_had_begun_the_last_frame(has_page: bool, unread: bool) -> None:
    transport = _sockets.SocketTransport()
    worker = PoolWorker(0, Worker("worker", "", 1), 0.0)
    with contextlib.closing(transport), contextlib.ExitStack() as sockets:
        data, its_data, control, its_control = (*socket.socketpair(), *socket.socketpair())
        for each in (data, its_data, control, its_control):
            sockets.enter_context(each)
        memory = page()
        held = HeldOutcomes(memory)
        worker.link = _sockets.Connection(data, control, None, memory if has_page else None)
        frame = _wire.frame(_wire.JOBS, b"some jobs")
        assert not transport.send(worker, frame), "its setup"
        assert not transport.send(worker, frame)
        its_data.recv(1 << 16)
        held.begin_frame()
        assert not transport.left_unread(worker)
        if unread:
            assert not transport.send(worker, frame)
        its_data.close()
        assert transport.send(worker, frame), "it is refused"
        worker.link.reader.read(drain=True)
        assert transport.left_unread(worker) == unread


def run(job: RunningJob) -> Any:
    do = job.get("do")
    if do == "hold":
        _held.HOLD = 1e9  # in the worker: nothing leaves before the message is done
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "wait":
        os.close(os.open(job["fifo"], os.O_RDONLY))
    if do == "wait in C":  # with the GIL: no other thread of the worker runs
        ctypes.PyDLL(None).open(job["fifo"].encode(), os.O_RDONLY)
    if do == "raise":
        raise ValueError(job["x"])
    if do == "record":
        job.record(1.0, 0.5)
    return {"objective": job["x"], "more": 1} if do == "dict" else job["x"]


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of jobs whose outcomes the pool found held. All messages are taken for those of short jobs."""
    found: list[int] = []

    def read(memory: memoryview) -> list[Any]:
        outcomes = read_held(memory)
        found.extend(number for number, *_ in outcomes)
        return outcomes

    monkeypatch.setattr(_sockets, "read_held", read)
    monkeypatch.setattr(_prefetcher, "WAKE", 60.0)
    monkeypatch.setattr(_prefetcher, "PREFETCH", 60.0)
    monkeypatch.setattr(_pool, "MANY", 2)
    return found


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "fifo")
    return str(tmp_path / "fifo")


@pytest.fixture
def evaluator() -> Iterator[Evaluator]:
    with Evaluator.create(run, "process") as evaluator:
        evaluator.submit([{"do": "hold", "x": 0.0}])
        evaluator.gather()
        yield evaluator


def twenty(what: dict[str, Any]) -> list[dict[str, Any]]:
    """Jobs that go to the worker in one message; the eleventh is not like the others."""
    configurations: list[dict[str, Any]] = [{"x": float(n)} for n in range(20)]
    configurations[10] |= what
    return configurations


needs_pages = pytest.mark.skipif(not _held.can_hold(), reason="each outcome is sent by itself here")


@needs_pages
@pytest.mark.slow
def test_a_worker_that_dies_takes_no_outcome_with_it(looked: list[int], evaluator: Evaluator) -> None:
    jobs = evaluator.submit(twenty({"do": "die"}))
    assert len(evaluator.gather("ALL", timeout=60)) == 20
    assert set(looked) == {job.number for job in jobs[:10]}
    assert jobs[10].kind is FailureKind.WORKER_DIED
    assert [job.objective for job in jobs[:10]] == [float(n) for n in range(10)]
    assert [job.status for job in jobs[11:]] == [JobStatus.DONE] * 9


@needs_pages
@pytest.mark.slow
@pytest.mark.parametrize("do", ["wait", "wait in C"])
@pytest.mark.parametrize("who", ["the caller", "the I/O thread"])
def test_outcomes_that_are_held_wait_for_no_long_job(
    looked: list[int], evaluator: Evaluator, fifo: str, do: str, who: str
) -> None:
    jobs = evaluator.submit(twenty({"do": do, "fifo": fifo}))
    if who == "the caller":
        assert evaluator.gather("BATCH", 10, timeout=60) == jobs[:10]
    else:
        wait_until(lambda: all(job.is_done for job in jobs[:10]))
    assert not any(job.is_done for job in jobs[10:])
    assert set(looked) == {job.number for job in jobs[:10]}
    with open(fifo, "w"):
        assert len(evaluator.gather("ALL", timeout=60)) == (10 if who == "the caller" else 20)
    assert [job.objective for job in jobs] == [float(n) for n in range(20)]


@needs_pages
@pytest.mark.slow
def test_jobs_behind_outcomes_that_are_held_and_a_hang_in_c_code_go_to_an_idle_worker(
    looked: list[int], fifo: str
) -> None:
    with Evaluator.create(run, "process", {"num_workers": 2}) as evaluator:
        evaluator.submit([{"do": "hold", "x": 0.0}] * 2)
        evaluator.gather()
        jobs = evaluator.submit(twenty({"do": "wait in C", "fifo": fifo}))
        assert len(evaluator.gather("BATCH", 19, timeout=60)) == 19
        assert not jobs[10].is_done
        with open(fifo, "w"):
            assert evaluator.gather("ALL", timeout=60) == [jobs[10]]
    assert [job.objective for job in jobs] == [float(n) for n in range(20)]
    assert len(looked) > len(set(looked)), "the pool looked again, and found the same"


@needs_pages
@pytest.mark.slow
def test_a_job_behind_outcomes_that_are_held_is_stopped_by_force(
    looked: list[int], evaluator: Evaluator, fifo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "LOOK", (1e6, 1e6))  # nobody looks but who kills
    jobs = evaluator.submit(twenty({"do": "wait in C", "fifo": fifo}))
    assert jobs[10].cancel()
    assert len(evaluator.gather("ALL", timeout=60)) == 20
    assert jobs[10].status is JobStatus.CANCELLED
    assert [job.objective for job in jobs[:10]] == [float(n) for n in range(10)]
    assert [job.status for job in jobs[11:]] == [JobStatus.DONE] * 9


@needs_pages
@pytest.mark.slow
def test_what_is_held_and_what_is_sent_at_once_give_the_same(
    looked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [{}, {}, {"do": "dict"}, {}, {"do": "raise"}, {}, {"do": "record"}, {}, {}, {}]
    configurations = [{"x": float(n), **kinds[n % len(kinds)]} for n in range(200)]
    found = []
    for can_hold in (True, False):
        monkeypatch.setattr(_held, "can_hold", lambda can_hold=can_hold: can_hold)
        with Evaluator.create(run, "process", {"num_workers": 2}) as evaluator:
            evaluator.submit([{"do": "hold", "x": 0.0}] * 2)
            evaluator.gather()
            jobs = evaluator.submit(configurations)
            assert len(evaluator.gather("ALL", timeout=60)) == 200
            found.append([(job.objective, job.status, job.kind, job.output, job.attempts) for job in jobs])
    assert found[0] == found[1]
