"""`Deadline` and `stops_on_sigterm`: ending with the allocation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from evalpool import (
    BadArgument,
    Deadline,
    EvaluatorClosed,
    FailureKind,
    JobStatus,
    RunningJob,
    SerialEvaluator,
    ThreadPoolEvaluator,
    simulated,
    stops_on_sigterm,
)
from evalpool._interrupts import allow_signals, defer_signals
from evalpool.callbacks import Callback
from evalpool.storage import SQLiteStorage


def lasted(*seconds: float) -> list[Any]:
    return [SimpleNamespace(metadata={"timestamp_start": 10.0, "timestamp_end": 10.0 + s}) for s in seconds]


def test_the_end_that_slurm_tells_is_the_deadline() -> None:
    deadline = Deadline.of_allocation(margin=60, environment={"SLURM_JOB_END_TIME": str(int(time.time()) + 1000)})
    assert 930 < deadline.time_left <= 940


def command(directory: Path, name: str, prints: str) -> dict[str, str]:
    """A batch system's command, as its host would have it."""
    path = directory / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{prints}\nEND\n")
    path.chmod(0o755)
    return {"PATH": f"{directory}:/bin:/usr/bin"}


@pytest.mark.parametrize(("said", "seconds"), [("1-02:03:04", 93784), ("2:03:04", 7384), ("10:30", 630), ("0:05", 5)])
def test_an_older_slurm_is_asked(tmp_path: Path, said: str, seconds: int) -> None:
    environment = command(tmp_path, "squeue", said)
    deadline = Deadline.of_allocation(margin=0, environment={**environment, "SLURM_JOB_ID": "17"})
    assert seconds - 5 < deadline.time_left <= seconds


def test_pbs_is_asked_for_what_is_left_of_the_walltime(tmp_path: Path) -> None:
    text = "Job Id: 5.host\n    resources_used.walltime = 00:10:00\n    Resource_List.walltime = 01:00:00"
    environment = command(tmp_path, "qstat", text)
    deadline = Deadline.of_allocation(margin=0, environment={**environment, "PBS_JOBID": "5.host"})
    assert 2995 < deadline.time_left <= 3000


@pytest.mark.parametrize("said", ["UNLIMITED", "", "soon", "INVALID"])
def test_where_nobody_knows_the_end_the_default_counts_or_an_error_says_so(tmp_path: Path, said: str) -> None:
    environment = {**command(tmp_path, "squeue", said), "SLURM_JOB_ID": "17"}
    assert 95 < Deadline.of_allocation(margin=4, environment=environment, default=100).time_left <= 96
    with pytest.raises(BadArgument, match="SLURM_JOB_END_TIME"):
        Deadline.of_allocation(environment=environment)
    with pytest.raises(BadArgument, match="SLURM_JOB_END_TIME"):
        Deadline.of_allocation(environment={})


@pytest.mark.parametrize("wrong", [-1, float("nan"), "60", True, None])
def test_what_is_no_time_is_refused(wrong: Any) -> None:
    with pytest.raises(BadArgument, match="seconds"):
        Deadline(wrong)
    with pytest.raises(BadArgument, match="margin"):
        Deadline(1, margin=wrong)


def test_a_job_fits_as_long_as_its_usual_duration_does() -> None:
    deadline = Deadline(100)
    assert deadline.fits()  # nothing is known yet
    deadline.learn(lasted(*[10.0] * 9, 500.0))  # one that hung says little about the next
    assert deadline.usual_duration == 10.0
    assert deadline.fits()
    assert deadline.fits(jobs_ahead=8, num_workers=1)
    assert not deadline.fits(jobs_ahead=10, num_workers=1)
    assert deadline.fits(jobs_ahead=10, num_workers=4)
    deadline.learn(lasted(*[200.0] * 10))
    assert not deadline.fits()
    assert not Deadline(5, margin=10).fits()


def test_jobs_that_never_ran_say_nothing() -> None:
    deadline = Deadline(1)
    deadline.learn([SimpleNamespace(metadata={"timestamp_start": None, "timestamp_end": None})])
    assert deadline.usual_duration == 0.0


def test_a_search_is_fed_until_no_job_fits() -> None:
    deadline = Deadline(1000)
    done = []
    with SerialEvaluator(lambda job: job["x"] + 0.5) as evaluator:
        for job in evaluator.as_completed(deadline.feed({"x": n} for n in range(1000)), max_pending=1):
            done.append(job.objective)
            deadline.learn(lasted(100.0) if len(done) < 5 else lasted(*[2000.0] * 64))
    assert 5 <= len(done) <= 7


def test_sigterm_ends_the_block_once_and_the_handler_before_is_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    cleaned = []

    def search() -> None:
        with stops_on_sigterm() as told:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                os.kill(os.getpid(), signal.SIGTERM)  # the impatient batch system
                cleaned.append(told.is_set())

    with pytest.raises(SystemExit) as ended:
        search()
    assert ended.value.code == 128 + signal.SIGTERM
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_deferred_signal_is_raised_where_signals_are_allowed_whatever_ctrl_c_means() -> None:
    steps = []

    def search() -> None:
        with stops_on_sigterm(also=(signal.SIGUSR1,)):
            with defer_signals():
                signal.raise_signal(signal.SIGUSR1)
                steps.append("whole")
                with allow_signals():
                    steps.append("never")

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as ended:
            search()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 128 + signal.SIGUSR1
    assert steps == ["whole"]


def test_an_evaluator_that_closes_inside_the_block_leaves_no_handler_behind() -> None:
    before = signal.getsignal(signal.SIGTERM)
    evaluator = SerialEvaluator(lambda job: 1.0)
    evaluator.submit([{}])
    evaluator.gather()
    with stops_on_sigterm():
        evaluator.close()
    assert signal.getsignal(signal.SIGTERM) is before
    with stops_on_sigterm():
        evaluator = SerialEvaluator(lambda job: 1.0)
        evaluator.submit([{}])
        evaluator.gather()
    evaluator.close()
    assert signal.getsignal(signal.SIGTERM) is before


PROGRAM = """
import sys, time
from evalpool import Evaluator, optimize, profile, stops_on_sigterm
from evalpool.storage import SQLiteStorage
def say(line):  # in one write: `print` makes two where PYTHONUNBUFFERED is set, and search and worker share the pipe
    sys.stdout.write(line + "\\n")
    sys.stdout.flush()
def run(job):
    if job["x"]:
        say("hangs")
        time.sleep(60)
    return 1.0
class Counts:
    x = -1
    def ask(self):
        self.x += 1
        return {"x": self.x}
    def tell(self, job):
        say("has one")
def gather(evaluator):
    evaluator.submit([{"x": 0}, {"x": 1}, {"x": 2}])
    evaluator.gather("BATCH", size=1)
    say("has one")
    evaluator.gather()
def as_completed(evaluator):
    for job in evaluator.as_completed([{"x": 0}, {"x": 1}, {"x": 2}]):
        say("has one")
def loop(evaluator):
    optimize(evaluator, Counts(), max_evals=3, max_pending=2)
method, how, path, *more = sys.argv[1:]
if more == ["profiled"]:
    run = profile(memory=True)(run)
if more == ["own handler"]:
    import signal
    signal.signal(signal.SIGINT, lambda number, frame: say("a Ctrl-C, as the program understands it"))
with SQLiteStorage(path) as storage:
    with stops_on_sigterm(), Evaluator.create(run, method, {"num_workers": 1, "storage": storage}) as evaluator:
        globals()[how](evaluator)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "how"),
    [("process", "gather"), ("process", "as_completed"), ("process", "loop"), ("thread", "gather"), ("serial", "loop")],
)
def test_a_batch_job_that_is_told_to_end_keeps_its_results_and_leaves_the_rest_to_be_resumed(
    tmp_path: Path, method: str, how: str
) -> None:
    path = tmp_path / "results.db"
    command = [sys.executable, "-c", PROGRAM, method, how, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert {program.stdout.readline(), program.stdout.readline()} == {"hangs\n", "has one\n"}
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 128 + signal.SIGTERM
    with SQLiteStorage(path) as storage:
        left = storage.records("0")
        assert {record.status.value for record in left[1:]} == {"READY"}
        assert [record.status.value for record in left[:1]] == ["DONE"]
        with SerialEvaluator(lambda job: job["x"] + 0.5, storage=storage, search_id="0") as evaluator:
            assert evaluator.resume() == len(left) - 1
            evaluator.gather()
        assert [record.objective for record in storage.records("0")] == [1.0, 1.5, 2.5][: len(left)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "how", "ctrl_c"),
    [
        ("process", "gather", "ignored"),
        ("serial", "loop", "ignored"),
        ("thread", "gather", "own handler"),
        ("serial", "loop", "own handler"),
    ],
)
def test_sigterm_ends_a_search_also_where_ctrl_c_is_ignored_or_means_something_else(
    tmp_path: Path, method: str, how: str, ctrl_c: str
) -> None:
    """A shell without job control starts its background commands so, and `nohup` and job scripts do."""
    script = '"$@" & child=$!; trap "kill -TERM $child" TERM; wait $child; wait $child'
    python = [sys.executable, "-c", PROGRAM, method, how, str(tmp_path / "results.db"), ctrl_c]
    command = ["sh", "-c", script, "sh", *python] if ctrl_c == "ignored" else python
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert {program.stdout.readline(), program.stdout.readline()} == {"hangs\n", "has one\n"}
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 128 + signal.SIGTERM
        assert program.stdout.read() == ""
    with SQLiteStorage(tmp_path / "results.db") as storage:
        statuses = [record.status.value for record in storage.records("0")]
    assert statuses == ["DONE", *["READY"] * (len(statuses) - 1)]


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["profiled"]])
def test_a_signal_to_all_processes_of_a_batch_job_fails_no_job(tmp_path: Path, more: list[str]) -> None:
    path = tmp_path / "results.db"
    command = [sys.executable, "-c", PROGRAM, "process", "gather", str(path), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert {program.stdout.readline(), program.stdout.readline()} == {"hangs\n", "has one\n"}
        below = psutil.Process(program.pid).children(recursive=True)
        workers = [child for child in below if "_worker import main" in " ".join(child.cmdline())]
        assert len(workers) == 1 + len(more)  # the helper of `profile` is one of a worker's own
        for worker in workers:  # they hear it first, and long before the search
            worker.send_signal(signal.SIGTERM)
        assert psutil.wait_procs(workers, timeout=0.5)[0] == []
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 128 + signal.SIGTERM
        assert psutil.wait_procs(workers, timeout=20)[1] == []
    with SQLiteStorage(path) as storage:
        assert [record.status.value for record in storage.records("0")] == ["DONE", "READY", "READY"]


def hang(job: RunningJob) -> float:
    """Until it is asked to stop."""
    if job["x"]:
        while not job.stopped():
            threading.Event().wait(0.01)
    return job["x"] + 0.5


class Heard(Callback):
    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def on_done(self, job: Any) -> None:
        self.jobs.append(job)


def test_what_is_suspended_is_resumed_at_once_and_nobody_is_told_that_it_ended(tmp_path: Path) -> None:
    heard = Heard()
    with SQLiteStorage(tmp_path / "results.db") as storage:
        evaluator = ThreadPoolEvaluator(hang, num_workers=1, storage=storage, callbacks=[heard])
        jobs = evaluator.submit([{"x": n} for n in range(4)])
        evaluator.gather("BATCH", 1)
        jobs[1].cancel()  # for good
        left = evaluator.suspend()
        assert {job.number for job in left} >= {2, 3}
        assert {(job.status, job.objective, job.kind) for job in left if job is not jobs[1]} == {
            (JobStatus.CANCELLED, "F_CANCELLED", FailureKind.SUSPENDED)
        }
        assert [job.number for job in heard.jobs] == [0, 1]
        assert [record.status.value for record in storage.records("0")] == ["DONE", "CANCELLED", "READY", "READY"]
        with pytest.raises(EvaluatorClosed):
            evaluator.submit([{"x": 1}])
        with SerialEvaluator(lambda job: -1.0, storage=storage, search_id="latest") as again:
            assert again.resume() == 2
            assert sorted((job.number, job.objective) for job in again.gather()) == [(0, 0.5), (2, -1.0), (3, -1.0)]


def test_without_a_storage_that_lasts_suspend_is_close() -> None:
    evaluator = SerialEvaluator(hang)
    evaluator.submit([{"x": 1}])
    (job,) = evaluator.suspend()
    assert job.kind is FailureKind.CANCELLED
    assert [record.status.value for record in evaluator.results()] == ["CANCELLED"]


def test_a_deadline_as_the_budget_leaves_what_has_not_ended_to_be_resumed(tmp_path: Path) -> None:
    with SQLiteStorage(tmp_path / "results.db") as storage:
        with ThreadPoolEvaluator(hang, num_workers=1, storage=storage) as evaluator:
            evaluator.submit([{"x": 0}])
            evaluator.gather()
            evaluator.timeout = Deadline(0.1)
            evaluator.submit([{"x": 1}, {"x": 2}])
            assert {job.kind for job in evaluator.gather()} == {FailureKind.SUSPENDED}
            evaluator.timeout = None  # what comes after is another matter
            (job,) = evaluator.submit([{"x": 3}])
            job.cancel()
            assert [job.kind for job in evaluator.gather()] == [FailureKind.CANCELLED]
            evaluator.timeout = Deadline(5, margin=10)
            evaluator.submit([{"x": 4}])
            assert [job.kind for job in evaluator.gather()] == [FailureKind.SUSPENDED]
        statuses = [record.status.value for record in storage.records("0")]
        assert statuses == ["DONE", "READY", "READY", "CANCELLED", "READY"]


def test_a_deadline_is_no_budget_of_virtual_time() -> None:
    with simulated(SerialEvaluator)(hang) as evaluator, pytest.raises(BadArgument, match="Deadline in"):
        evaluator.timeout = Deadline(1)
