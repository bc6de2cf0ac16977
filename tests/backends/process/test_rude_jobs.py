"""Jobs that treat their worker badly: the pool stands it, and so do the other jobs."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from evalpool import Evaluator, FailureKind, profile
from faults import culprits
from faults.programs import Program, assert_gone, wait_until

pytestmark = pytest.mark.slow

Make = Callable[..., Any]
Start = Callable[..., Program]


def around(evaluator: Evaluator, rude: dict[str, Any]) -> Any:
    """The rude job among polite ones, which all must be right; returns it."""
    jobs = evaluator.submit([{"x": n} for n in range(5)] + [rude] + [{"x": n} for n in range(5)])
    evaluator.gather()
    more = evaluator.submit([{"x": n} for n in range(5)])
    evaluator.gather()
    assert [job.objective for job in jobs[:5] + jobs[6:] + more] == [10.0 * n for n in range(5)] * 3
    return jobs[5]


@pytest.mark.parametrize(
    "deed",
    ["change directory", "close output", "exit in a thread", "ignore signals", "leave children", "raise in a thread"],
)
def test_what_a_job_does_to_its_process_is_no_failure(make: Make, deed: str) -> None:
    assert around(make(culprits.mostly_harmless, num_workers=2), {"do": deed, "x": 7}).objective == 70.0


def test_a_job_that_closes_all_files_fails_alone(make: Make) -> None:
    job = around(make(culprits.mostly_harmless, num_workers=2), {"do": "close files"})
    assert job.kind is FailureKind.WORKER_DIED


def test_a_job_that_asks_for_a_session_of_its_own_is_told_that_it_has_one(make: Make) -> None:
    job = around(make(culprits.mostly_harmless, num_workers=2), {"do": "new session"})
    assert job.objective == "F_PermissionError"


def test_megabytes_on_both_outputs_hinder_nobody(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    job = around(make(culprits.mostly_harmless, num_workers=2), {"do": "shout", "x": 7})
    assert job.objective == 70.0
    wait_until(lambda shown=[0]: shown.__setitem__(0, shown[0] + capfd.readouterr().err.count("e")) or shown[0] > 3e6)


def test_children_that_hold_the_channel_do_not_hide_the_workers_death(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    job = around(make(culprits.mostly_harmless, num_workers=1), {"do": "leave children", "die": True})
    assert job.kind is FailureKind.WORKER_DIED
    assert "exit code 7" in job.error
    said = [line.split() for line in capfd.readouterr().out.splitlines()]
    children = [int(line[1]) for line in said if line[0] == "grandchild"]
    assert len(children) == 3
    assert_gone(_processes(children))


def test_a_daemon_that_writes_without_end_does_not_keep_the_pool_busy(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    job = around(make(culprits.mostly_harmless, num_workers=1), {"do": "shout for ever and die"})
    assert job.kind is FailureKind.WORKER_DIED
    assert len(job.error) < 10_000
    said = [line.split() for line in capfd.readouterr().out.splitlines()]
    for process in _processes(int(line[1]) for line in said if line[0] == "grandchild"):
        process.kill()


def _processes(pids: Any) -> Iterator[psutil.Process]:
    for pid in pids:
        try:
            yield psutil.Process(pid)
        except psutil.NoSuchProcess:
            continue


def test_workers_that_are_replaced_start_where_the_search_is(make: Make, tmp_path: Path) -> None:
    def where(job: Any) -> Any:
        if job.get("do") == "die":
            os._exit(7)
        if job.get("do"):
            culprits.mostly_harmless(job)
        return os.getcwd()

    evaluator = make(where, num_workers=1, job_type="task")
    jobs = evaluator.submit([{"do": "change directory"}, {}, {"do": "die"}, {}])
    evaluator.gather()
    assert [jobs[n].output for n in (0, 1, 3)] == ["/", "/", os.getcwd()]


def test_a_search_whose_standard_error_nobody_reads_still_ends(program: Start) -> None:
    # The program's own standard error is a full pipe: what workers write there cannot be passed on.
    search = program(
        """
        r, w = os.pipe()
        os.set_blocking(w, False)
        try:
            while True:
                os.write(w, b"x" * 65536)
        except BlockingIOError:
            pass
        os.set_blocking(w, True)
        os.dup2(w, 2)
        with Evaluator.create(culprits.mostly_harmless, "process", {"num_workers": 2, "job_timeout": 5.0}) as evaluator:
            evaluator.submit([{"do": "shout", "x": 1}] + [{"x": n} for n in range(20)])
            say("gathered", len(evaluator.gather("ALL", timeout=15)))
        say("closed")
        """
    )
    assert search.expect("gathered") == "21"
    search.expect("closed")
    assert search.wait() == 0


def test_output_of_jobs_reaches_the_callers_streams(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    def speak(job: Any) -> float:
        import sys

        sys.stderr.write("said aloud\\n")
        return 1.0

    evaluator = make(speak, num_workers=1)
    evaluator.submit([{}])
    evaluator.gather()
    shown: list[str] = []
    wait_until(lambda: shown.append(capsys.readouterr().err) or "said aloud" in "".join(shown))


def test_a_job_that_leaves_threads_behind_ends_with_the_pool(make: Make) -> None:
    def leave(job: Any) -> float:
        threading.Thread(target=threading.Event().wait, args=(culprits.LONG,)).start()
        return 1.0

    evaluator = make(leave, num_workers=1)
    evaluator.submit([{}] * 3)
    assert [job.objective for job in evaluator.gather()] == [1.0] * 3
    workers = {job.metadata["pid"] for job in evaluator.submit([{}]) + evaluator.gather()}
    assert evaluator.close() == []
    assert_gone(_processes(workers))


@pytest.mark.parametrize("method", ["process", "profile"])
def test_a_programs_default_timeout_of_sockets_concerns_no_worker(method: str) -> None:
    def run(job: Any) -> float:
        threading.Event().wait(0.3)
        return float(job["x"])

    function, method = (profile(memory=True)(run), "thread") if method == "profile" else (run, method)
    socket.setdefaulttimeout(0.05)
    try:
        with Evaluator.create(function, method, {"num_workers": 2}) as evaluator:
            evaluator.submit([{"x": n} for n in range(4)])
            jobs = evaluator.gather()
    finally:
        socket.setdefaulttimeout(None)
    assert sorted(job.objective for job in jobs) == [0.0, 1.0, 2.0, 3.0]
