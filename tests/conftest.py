"""What every test relies on: nothing is left behind, and a missing service fails in CI."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

import services

LEAVE_BEHIND = ("pytest_timeout", "QueueManagerThread", "ExecutorManagerThread", "QueueFeederThread", "tqdm_monitor")
"""Threads of libraries that end in their own time."""
BOUND = 5.0
"""Seconds that a thread or process which is ending may take until it is called left behind."""


def pytest_configure(config: pytest.Config) -> None:
    """Signals mean what they do at a terminal, also in the background of a script or under nohup, which ignore some."""
    _keep_ray_apart(config)
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def _keep_ray_apart(config: pytest.Config) -> None:
    """Give Ray a folder of these tests, so that they never join a Ray that somebody else runs on this machine.

    `ray.init()` looks in this folder for a Ray that is up. The path is short, since sockets have their names below it.
    """
    folder = tempfile.mkdtemp(prefix="ep-", dir="/tmp" if os.name == "posix" else None)
    os.environ["RAY_TMPDIR"] = folder
    os.environ.pop("RAY_ADDRESS", None)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stress tests repeat what quick ones show; they run when asked for by their marker."""
    for item in items:
        if item.get_closest_marker("stress") and "stress" not in (item.config.option.markexpr or ""):
            item.add_marker(pytest.mark.skip(reason="run with -m stress"))


def _threads() -> set[threading.Thread]:
    return {
        thread
        for thread in threading.enumerate()
        if not any(name in f"{type(thread).__name__} {thread.name}" for name in LEAVE_BEHIND)
    }


def _children() -> set[psutil.Process]:
    return {child for child in psutil.Process().children(recursive=True) if _alive(child)}


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.Error:
        return False


TOLD_TO_END = signal.getsignal(signal.SIGTERM)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: no new thread, process, or handler of SIGTERM, which processes forked by later tests would have.

    Mark `leaves_threads` names the exceptions, with a reason.
    """
    threads, children = _threads(), _children()
    yield
    assert signal.getsignal(signal.SIGTERM) == TOLD_TO_END
    if request.node.get_closest_marker("leaves_threads"):
        return
    deadline = time.monotonic() + BOUND
    for thread in _threads() - threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    left_threads = _threads() - threads
    left = _children() - children
    if left:
        gc.collect()
        psutil.wait_procs(list(left), timeout=max(0.1, deadline - time.monotonic()))
        left = {child for child in left if child.is_running() and _alive(child)}
    assert not left_threads, f"threads left behind: {left_threads}"
    assert not left, f"processes left behind: {left}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """The last lines say what did not run for want of a service."""
    yield
    lines = services.summary(terminalreporter.stats.get("skipped", []))
    if lines:
        terminalreporter.section("not run")
        for line in lines:
            terminalreporter.write_line(line)
