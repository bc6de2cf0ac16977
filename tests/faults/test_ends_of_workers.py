"""What is told of the ends of workers, and done at them, in programs and images that are not like most."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from evalpool import BadArgument, Evaluator, ProcessPoolEvaluator, RunningJob, SerialEvaluator, profile
from evalpool.testing._bench import wait_until

pytestmark = pytest.mark.slow

REAPING = """
import os, signal, sys, threading
from evalpool import Evaluator

def run(job):
    if job["how"] == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGSEGV)

def take_all(started):
    while True:
        started.set()
        try:
            os.wait()
        except ChildProcessError:
            pass

if __name__ == "__main__":
    if sys.argv[1] == "ignores":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    else:
        started = threading.Event()
        threading.Thread(target=take_all, args=(started,), daemon=True).start()
        started.wait()
    with Evaluator.create(run, "process") as evaluator:
        for how in ("exit", "signal"):
            evaluator.submit([{"how": how}])
            print(evaluator.gather()[0].error.splitlines()[0])
"""


@pytest.mark.parametrize("program", ["ignores", "waits"])
def test_how_a_worker_ended_is_told_where_the_program_takes_the_statuses_itself(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REAPING, program], capture_output=True, text=True, timeout=60, check=True
    )
    exited, killed = done.stdout.splitlines()
    if tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (6, 15):  # Linux tells it nevertheless
        assert "ended with exit code 3" in exited
        assert "was killed by SIGSEGV" in killed
    else:
        known = ("ended with exit code 3", "was killed by SIGSEGV")
        for said, right in zip((exited, killed), known, strict=True):
            assert right in said or "its exit status is not known" in said


def upload_at_exit(job: RunningJob) -> float:
    import atexit

    def upload() -> None:
        with open(job["fifo"]) as fifo:  # waits until somebody writes to it
            Path(job["uploaded"]).write_text(fifo.read())

    atexit.register(upload)
    return 1.0


def make_process(exit_timeout: float) -> Evaluator:
    return ProcessPoolEvaluator(upload_at_exit, exit_timeout=exit_timeout)


def make_profile(exit_timeout: float) -> Evaluator:
    return SerialEvaluator(profile(memory=True, exit_timeout=exit_timeout)(upload_at_exit))


@pytest.mark.parametrize("make", [make_process, make_profile])
def test_what_a_run_function_registered_with_atexit_has_time_and_is_told_when_it_is_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Callable[[float], Evaluator]
) -> None:
    fifo, uploaded = tmp_path / "fifo", tmp_path / "uploaded"
    os.mkfifo(fifo)
    job = {"fifo": str(fifo), "uploaded": str(uploaded)}
    with writing(fifo, "done"), make(5.0) as evaluator:
        evaluator.submit([job])
        evaluator.gather()
    assert uploaded.read_text() == "done"
    assert "atexit" not in caplog.text
    with make(0.1) as evaluator:
        evaluator.submit([job])
        evaluator.gather()
    assert (
        "had not ended 0.1 s after its last job, and was killed. Functions that it had registered with atexit"
        in caplog.text
    )
    for wrong in (-1, "5", float("nan")):
        with pytest.raises(BadArgument, match="exit_timeout is"):
            make(wrong)  # type: ignore[arg-type]


def chatty_at_exit(job: RunningJob) -> float:
    import atexit
    import sys

    atexit.register(lambda: sys.stderr.write("x" * 1_000_000 + "uploaded\n"))
    return 1.0


def test_what_is_said_at_the_end_holds_no_worker_up(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """More than its pipe to us takes."""
    with ProcessPoolEvaluator(chatty_at_exit, num_workers=1) as evaluator:
        evaluator.submit([{}])
        evaluator.gather()
    assert capfd.readouterr().err.endswith("uploaded\n")
    assert "atexit" not in caplog.text


def writing(fifo: Path, text: str) -> subprocess.Popen[bytes]:
    """Somebody who writes to a pipe when it is read."""
    code = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    return subprocess.Popen([sys.executable, "-c", code, str(fifo), text])


ORPHANS = """
import os, subprocess, sys
from evalpool import Evaluator

def run(job):
    other = subprocess.Popen(["sleep", "100"], start_new_session=True)
    with open(job["path"] + ".part", "w") as file:
        file.write(f"{os.getpid()} {other.pid}")
    os.rename(job["path"] + ".part", job["path"])
    import re
    re.match(r"(a+)+$", "a" * 40 + "b")  # holds the GIL for ever

if __name__ == "__main__":
    with Evaluator.create(run, "process") as evaluator:
        evaluator.submit([{"path": sys.argv[1]}])
        evaluator.gather()
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="hides the shell, as root")
@pytest.mark.parametrize("image", ["without a shell", "without cat"])
def test_workers_end_with_their_parent_in_an_image_without_a_shell(image: str, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")
    hidden = os.path.realpath("/bin/sh" if image == "without a shell" else shutil.which("cat") or "/bin/cat")
    empty, path = tmp_path / "empty", tmp_path / "pids"
    empty.touch(0o644)
    mount = shutil.which("mount")
    code = (
        "import os, subprocess, sys; "
        f"subprocess.run([{mount!r}, '--bind', {str(empty)!r}, {hidden!r}], check=True); "
        f"os.execv(sys.executable, [sys.executable, '-c', {ORPHANS!r}, {str(path)!r}])"
    )
    search = subprocess.Popen(["unshare", "-m", sys.executable, "-c", code])
    try:
        wait_until(path.exists)
        pids = [int(pid) for pid in path.read_text().split()]
    finally:
        search.send_signal(signal.SIGKILL)
        search.wait()
    wait_until(lambda: not any(map(alive, pids)))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
