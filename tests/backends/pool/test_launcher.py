"""Pools with launchers of other packages: found by name, with arguments of their own, and told why none can start."""

from __future__ import annotations

import contextlib
import importlib
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from backends.names import names_of_evaluators
from evalpool import BadArgument, Evaluator, FailureKind, Submission
from evalpool.backends import Launcher, pool_evaluator

pytestmark = pytest.mark.slow

BOUND = 60

SOURCE = """
import subprocess
from evalpool.backends import Launcher

class ElsewhereLauncher(Launcher):
    "Starts workers in a directory of its own."

    name = "elsewhere"

    def __init__(self, directory="/"):
        self.directory = directory

    def start(self, worker):
        with self.child(worker) as child:
            return subprocess.Popen(child.command, env=child.environment, pass_fds=child.files,
                                    start_new_session=True, cwd=self.directory)

    def kill(self, worker):
        self.kill_tree(worker.handle.pid)

    def describe_end(self, worker):
        return f"It ended with exit code {worker.handle.wait(10)}."

    def release(self, worker):
        worker.handle.wait(10)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution of somebody else, with a launcher and its entry point."""
    (tmp_path / "their_launcher.py").write_text(SOURCE)
    info = tmp_path / "their_launcher-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-launcher\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[evalpool.launchers]\nelsewhere = their_launcher:ElsewhereLauncher\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_launcher", raising=False)
    importlib.invalidate_caches()


@pytest.mark.usefixtures("installed")
def test_a_launcher_of_another_package_is_a_method(tmp_path: Path) -> None:
    def where(job: Any) -> Any:
        import os

        if job.get("dies"):
            os._exit(3)
        return {"output": 1.0, "metadata": {"directory": os.getcwd()}}

    with Evaluator.create(where, "elsewhere", {"directory": str(tmp_path), "num_workers": 2}) as evaluator:
        evaluator.submit([{}, {"dies": True}, {}])
        jobs = sorted(evaluator.gather(), key=lambda job: job.number)
    assert [job.kind for job in jobs] == [None, FailureKind.WORKER_DIED, None]
    assert "It ended with exit code 3." in (jobs[1].error or "")
    assert jobs[0].metadata["directory"] == str(tmp_path)
    assert jobs[0].metadata["worker"].startswith("elsewhere-")
    with pytest.raises(BadArgument, match="directory"):
        Evaluator.create(where, "elsewhere", {"dictionary": "."})


class Broken(Launcher):
    """Starts nothing."""

    def start(self, worker: Any) -> Any:
        raise RuntimeError("there is no licence for a worker")

    def kill(self, worker: Any) -> None:
        """There is none."""

    def describe_end(self, worker: Any) -> str:
        return ""


def test_jobs_of_a_launcher_that_cannot_start_fail_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    # Each of the three attempts is logged only where the place is given up, and a reason of two places once.
    with caplog.at_level(logging.ERROR), pool_evaluator(Broken)(lambda job: 1.0, num_workers=2) as evaluator:
        evaluator.submit([{}] * 3)
        jobs = evaluator.gather("ALL", timeout=30)
    assert [job.kind for job in jobs] == [FailureKind.WORKER_DIED] * 3
    assert all("there is no licence for a worker" in (job.error or "") for job in jobs)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert ["no licence" in error for error in errors] == [True, False]
    assert "attempts in a row failed. The reason is the same as before" in errors[1]


class Faulty(Launcher):
    """Starts workers as children; the method that it is told to spoil raises, or returns what is no sentence."""

    def __init__(self, spoilt: str) -> None:
        self.spoilt = spoilt

    def start(self, worker: Any) -> Any:
        with self.child(worker) as child:
            return subprocess.Popen(child.command, env=child.environment, pass_fds=child.files, start_new_session=True)

    def kill(self, worker: Any) -> Any:
        self.kill_tree(worker.handle.pid)
        if self.spoilt == "kill":
            raise RuntimeError("spoilt")
        return "what kill returns counts for nothing"

    def describe_end(self, worker: Any) -> Any:
        if self.spoilt == "describe_end":
            raise RuntimeError("spoilt")
        return None if self.spoilt == "sentence" else "It ended."

    def release(self, worker: Any) -> None:
        worker.handle.wait(10)
        if self.spoilt == "release":
            raise RuntimeError("spoilt")


class Powerless(Launcher):
    """What it kills goes on, and it waits for the end of each worker: also for a file that says so, if it has one."""

    end_timeout = 0.5

    def __init__(self, over: str = "") -> None:
        self.over = over

    def start(self, worker: Any) -> Any:
        with self.child(worker) as child:
            return subprocess.Popen(child.command, env=child.environment, pass_fds=child.files, start_new_session=True)

    def kill(self, worker: Any) -> None:
        """It has no means to."""

    def describe_end(self, worker: Any) -> str:
        code = worker.handle.wait(BOUND)
        while self.over and not Path(self.over).exists():
            threading.Event().wait(0.05)
        return f"It ended with exit code {code}."

    def release(self, worker: Any) -> None:
        worker.handle.wait(BOUND)


@pytest.mark.parametrize("hangs", ["in the job", "at its end"])
def test_a_worker_that_a_kill_does_not_end_keeps_no_job_and_no_other_worker(
    hangs: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    over = tmp_path / "over"
    held = str(over) if hangs == "at its end" else ""

    def run(job: Any) -> float:
        import os
        import threading
        from pathlib import Path

        if job["x"] == 0:
            while job["hangs"] == "in the job" and not Path(job["over"]).exists():
                threading.Event().wait(0.05)
            os._exit(0)
        return 1.0

    try:
        with caplog.at_level(logging.ERROR), pool_evaluator(Powerless)(run, over=held, num_workers=2) as evaluator:
            limit = 0.3 if hangs == "in the job" else None
            hanging = Submission({"x": 0, "hangs": hangs, "over": str(over)}, job_timeout=limit)
            evaluator.submit([hanging, *({"x": x} for x in range(1, 8))])
            jobs = evaluator.gather("ALL", timeout=BOUND)  # while the worker goes on
            assert not over.exists()
            over.touch()
    finally:
        over.touch()
    kinds = {job.args["x"]: job.kind for job in jobs}
    kind = FailureKind.TIMEOUT if hangs == "in the job" else FailureKind.WORKER_DIED
    assert kinds == {0: kind, **dict.fromkeys(range(1, 8))}
    abandoned = [record.message for record in caplog.records if "is abandoned" in record.message]
    assert len(abandoned) == 1
    assert "did not end within 0.5 s after Powerless.kill" in abandoned[0]


@pytest.mark.parametrize("spoilt", ["", "kill", "describe_end", "sentence", "release"])
def test_what_a_launcher_raises_costs_no_job_of_another_worker(spoilt: str, caplog: pytest.LogCaptureFixture) -> None:
    def run(job: Any) -> float:
        import os
        import threading

        if job["x"] % 3 == 1:
            os._exit(3)
        if job["x"] == 2:
            threading.Event().wait(30)
        return 1.0

    arguments = {"spoilt": spoilt, "num_workers": 2}
    with caplog.at_level(logging.ERROR), pool_evaluator(Faulty)(run, **arguments) as evaluator:
        evaluator.submit([Submission({"x": x}, job_timeout=0.2 if x == 2 else None) for x in range(12)])
        jobs = evaluator.gather("ALL", timeout=60)
    kinds = {job.args["x"]: job.kind for job in jobs}
    died, timeout = FailureKind.WORKER_DIED, FailureKind.TIMEOUT
    assert kinds == {x: timeout if x == 2 else died if x % 3 == 1 else None for x in range(12)}
    errors = [job.error or "" for job in jobs if job.kind is died]
    expected = {"": "It ended.", "sentence": "Faulty.describe_end returned None", "release": "It ended."}
    assert all(expected.get(spoilt, "Faulty could not handle the end of worker") in error for error in errors)
    assert "error of its own" not in caplog.text
    assert ("spoilt" in caplog.text) == (spoilt not in ("", "sentence"))


def test_an_end_is_handled_although_the_system_gives_no_thread_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "evalpool-end":
            raise RuntimeError("can't start new thread")
        start(thread)

    def run(job: Any) -> float:
        import os

        if job["x"] == 1:
            os._exit(3)
        return 1.0

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pool_evaluator(Faulty)(run, spoilt="", num_workers=1) as evaluator:
        evaluator.submit([{"x": x} for x in range(4)])
        jobs = evaluator.gather("ALL", timeout=BOUND)
    assert {job.args["x"]: (job.error or "").strip() for job in jobs if job.kind} == {1: "It ended."}
    assert len(jobs) == 4


class Leaving(Faulty):
    """Ends the program, as a library of a cluster may do, the first time that the method is called."""

    ends_aside = False
    end_timeout = 0.5
    left = False

    def leave(self, method: str) -> None:
        if self.spoilt == method and not self.left:
            self.left = True
            raise SystemExit(f"{method} wants to leave")

    def start(self, worker: Any) -> Any:
        self.leave("start")
        return super().start(worker)

    def kill(self, worker: Any) -> None:
        self.leave("kill")
        self.kill_tree(worker.handle.pid)

    def describe_end(self, worker: Any) -> str:
        self.leave("describe_end")
        return "It ended."

    def release(self, worker: Any) -> None:
        worker.handle.kill()
        worker.handle.wait(10)


@pytest.mark.parametrize("method", ["start", "kill", "describe_end"])
def test_a_launcher_that_would_end_the_program_costs_no_other_job(method: str) -> None:
    def run(job: Any) -> float:
        import os
        import threading

        if job["x"] == 1:
            os._exit(3)
        if job["x"] == 2:
            threading.Event().wait(4 * BOUND)
        return 1.0

    jobs: list[Any] = []
    with pool_evaluator(Leaving)(run, spoilt=method, num_workers=1) as evaluator:
        which = (0, 2, 3, 4) if method == "kill" else range(5)  # so that the first to be killed is over its time limit
        evaluator.submit([Submission({"x": x}, job_timeout=0.2 if x == 2 else None) for x in which])
        for _ in range(3):
            with contextlib.suppress(SystemExit):  # one that gathers in the thread that does the pool's work hears it
                jobs += evaluator.gather("ALL", timeout=BOUND / 3)
    died, timeout = FailureKind.WORKER_DIED, FailureKind.TIMEOUT
    kinds = {0: None, 1: died, 2: timeout, 3: None, 4: None}
    assert {job.args["x"]: job.kind for job in jobs} == {x: kinds[x] for x in which}


class Patient(Faulty):
    """Learns how a worker ended only after the pool has asked for it; it tells the pool, unless it forgets to."""

    ends_aside = False
    end_timeout = 0.5

    def conclude(self, worker: Any) -> None:
        if not self.spoilt:
            text = f"It ended with exit code {worker.handle.wait(10)}."
            threading.Thread(target=self.has_ended, args=(worker, text)).start()


@pytest.mark.parametrize("forgets", [False, True])
def test_a_launcher_may_say_later_how_a_worker_ended(forgets: bool) -> None:
    def run(job: Any) -> float:
        import os

        if job["x"] == 1:
            os._exit(3)
        return 1.0

    with pool_evaluator(Patient)(run, spoilt="conclude" if forgets else "", num_workers=2) as evaluator:
        evaluator.submit([{"x": x} for x in range(6)])
        jobs = evaluator.gather("ALL", timeout=BOUND)
    assert len(jobs) == 6
    (error,) = [job.error or "" for job in jobs if job.kind]
    assert ("is abandoned" if forgets else "It ended with exit code 3.") in error


class WithNamesOfOurs(Launcher):
    """Has an attribute of each name that an evaluator or a part of it has, but those that say what a launcher is."""

    def __init__(self, close: Any = None) -> None:
        for name in names_of_evaluators() - set(dir(Launcher)):
            setattr(self, name, ["its own"])
        if close is not None:
            self.close = close

    def start(self, worker: Any) -> Any:
        assert self._pool == ["its own"]
        with self.child(worker) as child:
            return subprocess.Popen(child.command, env=child.environment, pass_fds=child.files, start_new_session=True)

    def kill(self, worker: Any) -> None:
        self.kill_tree(worker.handle.pid)

    def describe_end(self, worker: Any) -> str:
        return "It ended."

    def release(self, worker: Any) -> None:
        worker.handle.wait(10)


def test_the_attributes_of_a_launcher_are_its_own() -> None:
    with pool_evaluator(WithNamesOfOurs)(lambda job: job["x"]) as evaluator:
        evaluator.submit([{"x": 1}])
        assert [job.objective for job in evaluator.gather(timeout=BOUND)] == [1]
    with pytest.raises(BadArgument, match="WithNamesOfOurs has an attribute 'close' of its own, 3"):
        pool_evaluator(WithNamesOfOurs)(print, close=3)
