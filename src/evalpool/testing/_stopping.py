"""Tests of jobs that must end early: by cancelling, time limits, stoppers, and closing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from evalpool.jobs import Submission
from evalpool.outcomes import FailureKind, JobStatus
from evalpool.testing._bench import BOUND, Bench, wait_until
from evalpool.worker import RunningJob

__all__ = ["Stopping"]

Make = Callable[..., Any]


def cooperate(job: RunningJob) -> Any:
    """Work until asked to stop."""
    end = time.monotonic() + BOUND
    pause = threading.Event()
    while time.monotonic() < end:
        if job.stopped():
            job.metadata["stopped"] = True
            return 0.5
        pause.wait(0.005)
    return 1.0


def hang_or_not(job: RunningJob) -> Any:
    if job.get("hang"):
        threading.Event().wait(BOUND if job["hang"] is True else job["hang"])
    return 1.0


def epochs(job: RunningJob) -> Any:
    for epoch in range(1, 11):
        job.record(epoch, job["quality"] * epoch)
        if job.stopped():
            break
    return {"objective": job["quality"] * epoch, "metadata": {"epochs": epoch}}


class StopAfterThree:
    """A user's own stopper."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, Any]] = []

    def observe(self, budget: float, objective: Any) -> None:
        self.seen.append((budget, objective))

    def stop(self) -> bool:
        return len(self.seen) >= 3

    @property
    def objective(self) -> Any:
        return self.seen[-1][1]


class BrokenStopper(StopAfterThree):
    def stop(self) -> bool:
        raise RuntimeError("a stopper's own fault")


class Stopping(Bench):
    def test_a_waiting_job_is_cancelled_at_once(self, make: Make) -> None:
        evaluator = make(hang_or_not, num_workers=1)
        jobs = evaluator.submit([{} for _ in range(3000)])
        assert jobs[-1].cancel() or jobs[-1].is_done
        assert evaluator.cancel(jobs[20:]) <= 2980
        assert len(evaluator.gather()) == 3000
        cancelled = [job for job in jobs if job.status is JobStatus.CANCELLED]
        assert all(job.objective == "F_CANCELLED" and job.kind is FailureKind.CANCELLED for job in cancelled)
        assert not jobs[0].cancel()

    def test_a_running_job_is_asked_to_stop(self, make: Make) -> None:
        if not self.in_background:
            pytest.skip("the caller's only thread is in the run-function")
        evaluator = make(cooperate, num_workers=1)
        jobs = evaluator.submit([{}, {}])
        wait_until(lambda: jobs[0].status is JobStatus.RUNNING)
        assert evaluator.cancel(jobs) == 2
        gathered = evaluator.gather()
        assert {job.objective for job in gathered} == {"F_CANCELLED"}
        assert {job.status for job in gathered} == {JobStatus.CANCELLED}

    def test_cancelling_a_job_of_another_evaluator_is_refused(self, make: Make) -> None:
        one, other = make(hang_or_not), make(hang_or_not)
        (job,) = one.submit([{}])
        with pytest.raises(ValueError, match="was not submitted to this"):
            other.cancel([job])
        one.gather()

    @pytest.mark.slow
    @pytest.mark.leaves_threads
    def test_a_job_over_its_timeout_is_reported_and_the_others_go_on(self, make: Make) -> None:
        evaluator = make(hang_or_not, num_workers=2, job_timeout=0.5)
        other = Submission({}, job_timeout=BOUND)  # ends in time even on a busy machine
        # An engine that does not know when a job begins counts its time from when it was sent, so workers must be up.
        evaluator.submit([other, other])
        evaluator.gather()
        jobs = evaluator.submit([{"hang": 8.0} if n == 2 else other for n in range(20)])
        evaluator.gather()
        assert [job.objective for job in jobs] == ["F_timeout" if n == 2 else 1.0 for n in range(20)]
        assert jobs[2].kind is FailureKind.TIMEOUT
        assert "0.5 s" in jobs[2].error
        # Its record says how long it ran, so that a plot of the workers shows the job, not a gap.
        assert jobs[2].metadata["timestamp_end"] - jobs[2].metadata["timestamp_start"] > 0.4

    @pytest.mark.slow
    @pytest.mark.leaves_threads
    def test_a_spent_budget_stops_what_runs_and_keeps_what_finished(self, make: Make) -> None:
        evaluator = make(hang_or_not, num_workers=2)
        evaluator.submit([{}, {}])
        done = evaluator.gather()
        assert [job.objective for job in done] == [1.0, 1.0]
        evaluator.timeout = 0.3
        assert 0 < evaluator.time_left <= 0.3
        jobs = evaluator.submit([{"hang": 3.0}] * 4)
        gathered = evaluator.gather("ALL")
        assert sorted(job.number for job in gathered) == sorted(job.number for job in jobs)
        assert {job.objective for job in gathered} == {"F_CANCELLED"}
        assert "budget of 0.3 s" in gathered[0].error
        assert evaluator.time_left == 0.0
        evaluator.submit([{}])  # submitted too late, so it ends without having run
        assert [job.objective for job in evaluator.gather()] == ["F_CANCELLED"]
        evaluator.timeout = None
        assert evaluator.time_left is None

    @pytest.mark.leaves_threads
    def test_close_returns_the_unfinished_jobs_as_cancelled(self, make: Make) -> None:
        evaluator = make(hang_or_not, num_workers=1)
        if self.in_background:
            jobs = evaluator.submit([{"hang": 3.0}, {}, {}])
        else:
            jobs = evaluator.submit([{}, {}, {}])
        unfinished = evaluator.close()
        assert unfinished == jobs
        assert {job.status for job in unfinished} == {JobStatus.CANCELLED}
        assert {job.objective for job in unfinished} == {"F_CANCELLED"}
        assert evaluator.gather() == []

    @pytest.mark.slow
    @pytest.mark.parametrize("how", ["sleep", "spin", "gil", "ignores_sigterm", "grandchildren"])
    def test_whatever_hangs_is_killed_with_its_children(self, make: Make, how: str, tmp_path: Any) -> None:
        if not self.kills:
            pytest.skip("documented: this engine cannot stop a run-function by force")
        evaluator = make(hang_badly, num_workers=2, job_timeout=0.3)
        children = tmp_path / "children"
        hangs = {"how": how, "children": str(children)}
        other = Submission({"how": None}, job_timeout=BOUND)  # ends in time however busy the machine is
        jobs = evaluator.submit([hangs if n == 1 else other for n in range(10)])
        assert len(evaluator.gather()) == 10
        assert [job.objective for job in jobs] == [1.0 if n != 1 else "F_timeout" for n in range(10)]
        pids = [int(pid) for pid in children.read_text().split()]
        assert pids
        wait_until(lambda: not any(map(_runs, pids)), bound=5.0)

    def test_a_users_stopper_ends_jobs_by_what_they_record(self, make: Make) -> None:
        evaluator = make(epochs, num_workers=2, stopper=StopAfterThree())
        jobs = evaluator.submit([{"quality": n} for n in range(6)])
        evaluator.gather()
        assert [job.metadata["epochs"] for job in jobs] == [3] * 6
        assert [job.objective for job in jobs] == [3 * n for n in range(6)]
        assert all(job.status is JobStatus.DONE for job in jobs)

    def test_a_stopper_that_raises_stops_nothing(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        evaluator = make(epochs, stopper=BrokenStopper())
        (job,) = evaluator.submit([{"quality": 1}])
        evaluator.gather()
        assert job.metadata["epochs"] == 10
        assert "BrokenStopper" in caplog.text


def hang_badly(job: RunningJob) -> Any:
    how = job["how"]
    if how is None:
        return 1.0
    import signal
    import subprocess
    import sys

    with open(job["children"], "w") as file:
        file.write(f"{os.getpid()} ")
        file.flush()
        if how == "grandchildren":
            code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
            for new_session in (False, True):
                child = subprocess.Popen([sys.executable, "-c", code], start_new_session=new_session)
                file.write(f"{child.pid} ")
    if how == "ignores_sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "spin":
        while True:
            pass
    if how == "gil":
        # A call of C code that does not release the GIL.
        import re

        re.match(r"(a*)*b", "a" * 64)
    threading.Event().wait(60)
    return 1.0


def _runs(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
