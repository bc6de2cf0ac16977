"""What the workers of Ray have in common with those of the process backend: their ends, their children, their files."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from evalpool import RayEvaluator, RunningJob
from evalpool._net._sockets import listen_locally
from evalpool.testing._stopping import StopAfterThree

pytestmark = pytest.mark.slow


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def odd(job: RunningJob) -> Any:
    if job["how"] == "forks":
        pid = os.fork()
        return -1.0 if pid == 0 else float(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    if job["how"] == "opens":
        for _ in range(1200):
            os.open(os.devnull, os.O_RDONLY)
        job.record(1, 0.5)
        return 2.0
    if job["how"] == "crashes":
        crash()
    budget = 0
    while not job.stopped() and budget < 9:
        budget += 1
        job.record(budget, 0.5)
    return budget


def test_odd_jobs_answer_for_themselves(cluster: Any) -> None:
    """Also with more files open than `select` can hear, here and there."""
    hows = ["forks", "stops", "opens", "crashes"]
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with RayEvaluator(odd, num_workers=1, num_cpus_per_task=0, stopper=StopAfterThree()) as evaluator:
            jobs = evaluator.submit([{"how": how} for how in hows])
            evaluator.gather()
    finally:
        for file in files:
            os.close(file)
    got = [(job.objective, job.stopped_early) for job in jobs]
    assert got == [(0.0, False), (3.0, True), (2.0, False), ("F_worker_died", False)], jobs[-1].error
    assert f'File "{__file__}"' in jobs[-1].error
    assert "in crash" in jobs[-1].error
    assert "Extension modules" not in jobs[-1].error


def upload(job: RunningJob) -> float:
    import atexit
    import threading

    def at_exit() -> None:
        if job["hangs"]:
            threading.Event().wait(60)
        Path(job["path"]).write_text("done")

    atexit.register(at_exit)
    return 1.0


def test_what_a_run_function_registered_with_atexit_has_time_and_is_told_when_it_is_cut(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "uploaded"
    for hangs, exit_timeout in ((False, 30.0), (True, 0.1)):
        with RayEvaluator(upload, num_workers=1, exit_timeout=exit_timeout) as evaluator:
            evaluator.submit([{"hangs": hangs, "path": str(path)}])
            evaluator.gather()
        if not hangs:
            assert path.read_text() == "done"
            assert "atexit" not in caplog.text
    assert (
        "had not ended 0.1 s after its last job, and was killed. Functions that it had registered with atexit"
        in caplog.text
    )


def double(job: RunningJob) -> float:
    return 2.0 * job["x"]


@pytest.mark.parametrize("near", [True, False])
def test_workers_of_this_host_take_the_local_socket_and_the_network_from_a_container(
    cluster: Any, near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not near:  # a container has the host's identity and sees none of its local sockets
        monkeypatch.setattr(
            "evalpool.backends._ray._reach.listen_locally",
            lambda: (listen_locally()[0], "@evalpool-of-another-namespace"),
        )
    with RayEvaluator(double, num_workers=1, num_cpus_per_task=0) as evaluator:
        jobs = evaluator.submit([{"x": float(n)} for n in range(50)])
        evaluator.gather()
        (worker,) = evaluator._backend.pool.workers.values()
        families = {each.family for each in (worker.link.data, worker.link.control)}
    assert [job.objective for job in jobs] == [2.0 * n for n in range(50)]
    assert families == {socket.AF_UNIX if near else socket.AF_INET}
