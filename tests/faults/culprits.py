"""Run-functions that do what run-functions should not do. Imported by the tests and by the programs they start."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

LONG = 60.0
"""Seconds that a job takes which nobody must wait for."""


def say(*words: object) -> None:
    """Tell the test one line, whole, from any process of the program."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def hold_the_gil() -> None:
    """One call into C that never releases the interpreter lock."""
    re.match(r"(a*)*b", "a" * 64)


def mostly_harmless(job: Any) -> float:
    """Return 10 x, or do what ``job["do"]`` says, after saying so."""
    do = job.get("do")
    if do is not None:
        say("begun", do, os.getpid())
        _DEEDS[do](job)
    return 10.0 * job.get("x", 0)


async def mostly_harmless_async(job: Any) -> float:
    """As `mostly_harmless`, on an event loop."""
    import asyncio

    if job.get("do") == "hang":
        say("begun hang", os.getpid())
        await asyncio.sleep(LONG)
    return 10.0 * job.get("x", 0)


def _hang(job: Any) -> None:
    # In slices: a signal that comes just before a wait begins interrupts it only at its end, in any Python program.
    pause = threading.Event()
    for _ in range(int(LONG * 10)):
        pause.wait(0.1)


def _hog(job: Any) -> None:
    hold_the_gil()


def _grandchild(job: Any) -> None:
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG})"])
    say("grandchild", child.pid)
    hold_the_gil()


def _detached_grandchild(job: Any) -> None:
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG})"], start_new_session=True)
    say("grandchild", child.pid)
    if job.get("hog"):
        hold_the_gil()
    threading.Event().wait(LONG)


def _cooperate(job: Any) -> None:
    end = time.monotonic() + LONG
    while not job.stopped() and time.monotonic() < end:
        threading.Event().wait(0.005)


def _wait_for_file(job: Any) -> None:
    end = time.monotonic() + LONG
    while not os.path.exists(job["file"]):
        assert time.monotonic() < end
        threading.Event().wait(0.005)


def _die(job: Any) -> None:
    os._exit(7)


def _stop_itself(job: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _close_files(job: Any) -> None:
    os.closerange(0, 1000)


def _leave_children(job: Any) -> None:
    """Children that hold the worker's channel and outlive it."""
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                threading.Event().wait(LONG)
            os._exit(0)
        say("grandchild", pid)
    if job.get("die"):
        os._exit(7)


def _shout(job: Any) -> None:
    for _ in range(40):
        os.write(2, b"e" * 99_999 + b"\n")
        os.write(1, b"o" * 99_999 + b"\n")


def _shout_for_ever_and_die(job: Any) -> None:
    """A daemon that writes to the worker's standard error without end; nobody will find it."""
    child = subprocess.Popen(["/bin/sh", "-c", "exec yes endless 1>&2"], start_new_session=True)
    say("grandchild", child.pid)
    threading.Event().wait(0.3)  # until it is at it
    os._exit(7)


def _change_directory(job: Any) -> None:
    os.chdir("/")


def _new_session(job: Any) -> None:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os._exit(0)
    os.waitpid(pid, 0)
    os.setsid()  # the worker leads one already: PermissionError


def _exit_in_a_thread(job: Any) -> None:
    thread = threading.Thread(target=sys.exit, args=(3,))
    thread.start()
    thread.join()


def _raise_in_a_thread(job: Any) -> None:
    def fail() -> None:
        raise ValueError("of a thread that nobody joins")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def _ignore_signals(job: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _close_output(job: Any) -> None:
    sys.stdout.close()
    sys.stderr.close()


_DEEDS = {
    "change directory": _change_directory,
    "close files": _close_files,
    "close output": _close_output,
    "cooperate": _cooperate,
    "detached grandchild": _detached_grandchild,
    "die": _die,
    "exit in a thread": _exit_in_a_thread,
    "grandchild": _grandchild,
    "hang": _hang,
    "hog": _hog,
    "ignore signals": _ignore_signals,
    "leave children": _leave_children,
    "new session": _new_session,
    "raise in a thread": _raise_in_a_thread,
    "shout": _shout,
    "shout for ever and die": _shout_for_ever_and_die,
    "stop itself": _stop_itself,
    "wait for file": _wait_for_file,
}
