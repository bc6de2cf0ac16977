"""Large arrays to worker processes and back: whole, one's own, and without files or memory left behind."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from evalpool import Evaluator, JobStatus, ProcessPoolEvaluator
from evalpool.backends._pool import _lend, _wire
from evalpool.storage import NullStorage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _lend.can_lend(), reason="this system has no files in memory; arrays go through sockets"),
]

LARGE = 4 * _lend.LEAST


def back(job: Any) -> dict[str, Any]:
    return {"objective": 1.0, "metadata": {"it": job["it"]}}


def one_job(evaluator: Evaluator, value: Any) -> Any:
    evaluator.submit([{"it": value}])
    (job,) = evaluator.gather()
    assert job.status is JobStatus.DONE, job.error
    return job.metadata["it"]


@pytest.mark.parametrize(
    "value",
    [
        np.arange(LARGE // 8, dtype=np.int64),
        np.asfortranarray(np.arange(LARGE // 8, dtype=">f8").reshape(4, -1)),
        np.zeros((0, 7)),
        [np.arange(LARGE, dtype=np.uint8), np.float32(2.0), np.ones(3), np.zeros((0,)), np.ones(LARGE, np.uint8)],
        b"bytes" * LARGE,
        {"text": "text" * LARGE, "array": np.ones(LARGE // 2, np.int16)[::2]},
    ],
    ids=["array", "fortran", "empty", "several", "bytes", "mixed"],
)
def test_large_values_go_there_and_back_unchanged(value: Any) -> None:
    with ProcessPoolEvaluator(back, num_workers=1) as evaluator:
        np.testing.assert_equal(one_job(evaluator, value), value)


def test_what_a_worker_writes_into_its_arrays_is_its_own() -> None:
    given = np.arange(LARGE, dtype=np.uint8)
    kept = given.copy()

    def write(job: Any) -> dict[str, Any]:
        job["it"][:] = 7
        captured[:] += 1
        return {"objective": float(captured[-1]), "metadata": {"it": job["it"], "pid": os.getpid()}}

    captured = np.zeros(LARGE, np.uint8)
    with ProcessPoolEvaluator(write, num_workers=2) as evaluator:
        evaluator.submit([{"it": given}] * 6)
        jobs = evaluator.gather()
    by_worker: dict[int, list[float]] = {}
    for job in jobs:
        assert (job.metadata["it"] == 7).all()
        job.metadata["it"][:] = 8  # the search's own, too
        by_worker.setdefault(job.metadata["pid"], []).append(job.objective)
    np.testing.assert_array_equal(given, kept)
    assert not captured.any()
    # Each worker counts for itself, from what was captured on.
    assert all(counts == [float(n) for n in range(1, len(counts) + 1)] for counts in by_worker.values())


class Counted:
    """An array that knows how often it was pickled."""

    pickled = 0

    def __init__(self, size: int) -> None:
        self.array = np.ones(size, np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        Counted.pickled += 1
        return self.__dict__


@pytest.mark.parametrize("where", ["captured", "kwargs"])
def test_a_large_array_of_the_run_function_is_sent_once_not_per_job(where: str) -> None:
    data = Counted(LARGE)
    Counted.pickled = 0

    def captured(job: Any) -> float:
        return float(data.array[job["x"]])

    def from_kwargs(job: Any, data: Any) -> float:
        return float(data.array[job["x"]])

    if where == "captured":
        evaluator = ProcessPoolEvaluator(captured, num_workers=2)
    else:
        evaluator = ProcessPoolEvaluator(from_kwargs, num_workers=2, run_function_kwargs={"data": data})
    with evaluator:
        evaluator.submit([{"x": n} for n in range(200)])
        assert [job.objective for job in evaluator.gather()] == [1.0] * 200
    assert Counted.pickled == 1


def die_at(job: Any) -> dict[str, Any]:
    if job["n"] % 7 == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"objective": float(job["it"][job["n"]]), "metadata": {"it": job["it"]}}


def test_workers_that_die_with_large_jobs_in_flight_cost_only_their_own() -> None:
    given = np.arange(LARGE, dtype=np.uint8)
    with ProcessPoolEvaluator(die_at, num_workers=2) as evaluator:
        jobs = evaluator.submit([{"it": given, "n": n} for n in range(28)])
        evaluator.gather()
    assert [job.args["n"] for job in jobs if job.status is JobStatus.FAILED] == [3, 10, 17, 24]
    assert all(job.objective == job.args["n"] for job in jobs if job.status is JobStatus.DONE)


def num_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_results_that_are_kept_keep_no_files_open_and_dropped_ones_no_memory() -> None:
    given = np.ones(LARGE, np.uint8)
    with ProcessPoolEvaluator(back, num_workers=2, storage=NullStorage()) as evaluator:
        one_job(evaluator, given)
        gc.collect()
        before, mapped = num_files(), lent_mappings()
        evaluator.submit([{"it": given}] * 100)
        jobs = evaluator.gather()
        # Which of them a worker still holds we cannot know, so the files of ours are counted.
        assert num_files() <= before + 18  # and 16 to be written again
        assert lent_mappings() >= mapped + 100
        del jobs
        gc.collect()
        assert lent_mappings() <= mapped + 2


def lent_mappings() -> int:
    with open("/proc/self/maps") as file:
        return sum("memfd:evalpool" in line for line in file)


def test_a_full_socket_lets_the_frame_go_the_other_way() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        value = np.arange(LARGE, dtype=np.uint8)
        payload, buffers = _wire.dump(value)
        lent = _lend.lend(_wire.ONE_JOB, (1, 1), payload, buffers)
        assert lent is not None
        count = 0
        while _lend.pass_on(ours, lent):
            count += 1
        assert count > 1
        frames: list[_wire.Frame] = []
        _wire.FrameReader.parse(memoryview(b"".join(_lend.copy_back(lent))), frames)
        ((kind, copied, pieces),) = frames
        assert kind == _wire.ONE_JOB
        np.testing.assert_array_equal(_wire.load(copied, pieces), value)
        head = memoryview(lent.frame[0])[_wire.HEADER.size :]
        for _ in range(count):  # those that went are all there, in their order
            kind, borrowed, pieces = _lend.borrow(theirs, head)
            np.testing.assert_array_equal(_wire.load(borrowed, pieces), value)


OUT_OF_FILES = """
import os, resource
import numpy as np
from evalpool import ProcessPoolEvaluator
def back(job):
    return {"objective": 1.0, "metadata": {"it": np.ones(job["size"], np.uint8)}}
if __name__ == "__main__":
    given = {"size": 2_000_000}  # not the array: to send it, the search would give up a file that it keeps
    with ProcessPoolEvaluator(back, num_workers=1) as evaluator:
        evaluator.submit([given])
        evaluator.gather()
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        hoard = []
        try:
            while True:
                hoard.append(os.dup(0))
        except OSError:
            pass
        evaluator.submit([given])
        (job,) = evaluator.gather()
        print(job.status.value, job.objective, job.error and job.error.splitlines()[-1])
        for fd in hoard:
            os.close(fd)
        evaluator.submit([given])
        (job,) = evaluator.gather()
        print(job.status.value, job.objective, int(job.metadata["it"].sum()))
"""


def test_without_a_free_file_the_job_says_so_and_the_next_one_is_right(tmp_path: Any) -> None:
    program = tmp_path / "program.py"
    program.write_text(OUT_OF_FILES)
    said = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr
    first, second = said.stdout.splitlines()
    assert first.startswith("FAILED F_unpicklable The result could not be read from shared memory: ")
    assert "too many files open" in first
    assert second == "DONE 1.0 2000000"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64
