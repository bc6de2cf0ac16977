"""A job that ends the program that runs it is given up after so many losses, and nothing beside it is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, RunningJob
from evalpool.cli._campaign import Watcher
from evalpool.errors import BadArgument
from evalpool.outcomes import FailureKind, JobStatus
from evalpool.storage import Event, JournalStorage, SQLiteStorage, Storage, new_owner
from resume.crashes import CULPRIT

BOUND = 60.0


def program(url: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run `resume.crashes` to its end; its exit code and what it gathered."""
    command = [sys.executable, str(Path(__file__).parent / "crashes.py"), url, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=BOUND)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


@pytest.mark.slow
def test_a_job_that_ends_each_resumed_program_is_given_up_alone_and_with_its_history(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/results.db"
    for _ in range(3):
        assert program(url, "thread")[0] == -signal.SIGKILL
    code, jobs = program(url, "thread")
    assert code == 0
    assert {number: job[0] for number, job in jobs.items() if job[0] != 1.0} == {str(CULPRIT): "F_worker_died"}
    assert len(jobs) == 12
    _, errors, error = jobs[str(CULPRIT)]
    assert [text.startswith("[lost] attempt ") for text in errors] == [True] * 3
    assert "3 times" in error
    assert "max_lost" in error
    with SQLiteStorage(tmp_path / "results.db") as storage:
        record = storage.load_record(f"0.{CULPRIT}")
    assert (record.status, record.kind, record.lost) == (JobStatus.FAILED, FailureKind.WORKER_DIED, 3)
    assert record.attempt_errors == errors


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_job_that_ends_its_program_before_its_start_is_recorded_is_given_up_too(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first end its start may be unknown; from then on it is recorded before the job runs."""
    monkeypatch.setenv("AT_ONCE", "1")
    url = f"{kind}:///{tmp_path}/results"
    codes = []
    while not codes or codes[-1] == -signal.SIGKILL:
        assert len(codes) < 5, "it ends each resumed program"
        code, jobs = program(url, "serial")
        codes.append(code)
    assert codes[-1] == 0
    assert {number: job[0] for number, job in jobs.items() if job[0] != 1.0} == {str(CULPRIT): "F_worker_died"}
    assert "3 times" in jobs[str(CULPRIT)][2]
    assert len(jobs) == 12


@pytest.mark.slow
@pytest.mark.parametrize("method", ["queued", "simulated"])
def test_with_lent_resources_and_in_simulated_time_a_last_chance_runs_alone_too(tmp_path: Path, method: str) -> None:
    """Else those that run beside it were lost as often, and would be given up with it."""
    url = f"sqlite:///{tmp_path}/results.db"
    for _ in range(3):
        assert program(url, method)[0] == -signal.SIGKILL
    code, jobs = program(url, method)
    assert code == 0
    assert {number: job[0] for number, job in jobs.items() if job[0] != 1.0} == {str(CULPRIT): "F_worker_died"}
    assert len(jobs) == 12
    # At the third loss nothing ran beside it.
    assert [number for number, job in jobs.items() if "attempt 3 ran" in "".join(job[1])] == [str(CULPRIT)]


@pytest.mark.slow
def test_where_jobs_are_isolated_a_lost_job_runs_however_often_it_was_lost(tmp_path: Path) -> None:
    """Its worker dies, and the program goes on: it is no longer a matter of the program's end."""
    url = f"journal:///{tmp_path}/runs"
    assert program(url, "thread")[0] == -signal.SIGKILL
    code, jobs = program(url, "process", "1")
    assert code == 0
    assert jobs[str(CULPRIT)][0] == "F_worker_died"
    assert "killed" in jobs[str(CULPRIT)][2] or "SIGKILL" in jobs[str(CULPRIT)][2]  # by its worker, not given up
    assert sum(job[0] == 1.0 for job in jobs.values()) == 11


def lose(storage: Storage, search: str, number: int, attempt: int, *, began: bool) -> None:
    """An owner that is gone had the job."""
    gone = new_owner() + "9"  # of a process that started at another time
    if attempt == 1:
        storage.append([Event("created", search, number, {"args": {"x": number}, "owner": gone})])
    else:
        storage.append([Event("queued", search, number, {"attempt": attempt, "owner": gone})])
    if began:
        data = {"attempt": attempt, "start": 1.0, "worker": "w", "host": "h", "pid": 7}
        storage.append([Event("started", search, number, data)])


@pytest.mark.parametrize(("max_lost", "given_up"), [(1, [0, 1]), (2, [0]), (None, [])])
def test_only_begun_attempts_count_and_the_limit_is_an_argument(
    tmp_path: Path, max_lost: int | None, given_up: list[int]
) -> None:
    with JournalStorage(tmp_path / "runs") as storage:
        search = storage.create_new_search()
        storage.reserve(search, 3)
        for number, begun in enumerate(([True, True], [True, False], [False, False])):
            for attempt, began in enumerate(begun, 1):
                lose(storage, search, number, attempt, began=began)
        with Evaluator.create(lambda job: 1.0, "serial", {"storage": storage, "search_id": search}) as evaluator:
            assert evaluator.resume(max_lost=max_lost) == 3 - len(given_up)
            jobs = sorted(evaluator.gather(), key=lambda job: job.number)
    assert [job.number for job in jobs if job.objective == "F_worker_died"] == given_up
    assert [job.number for job in jobs if job.objective == 1.0] == [n for n in range(3) if n not in given_up]
    assert jobs[0].attempt_errors[0] == "[lost] attempt 1 ran on w of h (process 7) when its evaluator had ended"


def _wait_until_stopped(job: RunningJob) -> float:
    while not job.stopped:
        threading.Event().wait(0.01)
    return 0.0


def test_a_suspended_job_was_not_lost_and_its_search_is_called_suspended(tmp_path: Path) -> None:
    with JournalStorage(tmp_path / "runs") as storage:
        for _ in range(4):
            options = {"storage": storage} | ({"search_id": "latest"} if storage.load_all_search_ids() else {})
            evaluator = Evaluator.create(_wait_until_stopped, "thread", options)
            if evaluator.resume(max_lost=1) == 0:
                evaluator.submit([{"x": 1}])
            (job,) = evaluator.suspend()
            assert job.kind is FailureKind.SUSPENDED
            watcher = Watcher(storage)
            watcher.look()
            assert watcher.campaigns["0"].state == "suspended"
        record = storage.load_record("0.0")
        assert (record.status, record.lost) == (JobStatus.READY, 0)


@pytest.mark.parametrize("max_lost", [0, -1, 1.5, "3"])
def test_a_limit_that_is_none_is_refused(tmp_path: Path, max_lost: Any) -> None:
    with Evaluator.create(lambda job: 1.0, "serial") as evaluator, pytest.raises(BadArgument, match="max_lost"):
        evaluator.resume(max_lost=max_lost)
