"""Whole programs as test subjects: started, listened to, killed, and asked what they left behind."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

import evalpool

HERE = Path(__file__).parent
BOUND = 30.0
"""Seconds after which a wait is a hang. Where a test waits for less, the jobs that must not be waited for take 60."""
EXIT = 10.0
"""Seconds in which a program that was told to end has ended. Promised are 3; a loaded machine gets more."""
GONE = 6.0
"""Seconds in which nothing is left of a program that has ended. Promised are 2."""

PRELUDE = """\
import os, signal, sys, threading, time
import culprits
from culprits import say
from evalpool import Evaluator, profile

"""


class Program:
    """A search in an interpreter and a session of its own; `say` in it is heard by `expect` here.

    Args:
        source: of the program, behind `PRELUDE`.
        folder: where its file and its standard error go.
        arguments: of its command line.
        environment: changes of this process's.
        terminal: file descriptor of the terminal that becomes its controlling one, with all its standard files.
    """

    def __init__(
        self,
        source: str,
        folder: Path,
        *arguments: object,
        environment: dict[str, str] | None = None,
        terminal: int | None = None,
    ) -> None:
        self.folder = folder
        path = folder / "search.py"
        path.write_text(PRELUDE + textwrap.dedent(source))
        self._stderr = folder / "stderr"
        root = str(Path(evalpool.__file__).parent.parent)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        variables = {"PYTHONPATH": os.pathsep.join([root, str(HERE)]), "PYTHONWARNINGS": "error", **(environment or {})}
        command = [sys.executable, str(path), *map(str, arguments)]
        with self._stderr.open("wb") as stderr:
            if terminal is None:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env={**inherited, **variables},
                    cwd=folder,
                    start_new_session=True,
                )
            else:
                # The first terminal that a session's leader opens becomes its controlling one.
                name = os.ttyname(terminal)
                shell = ["/bin/sh", "-c", 'exec 0<>"$0" 1>&0 2>&0; exec "$@"', name, *command]
                self.process = subprocess.Popen(
                    shell, env={**inherited, **variables, "TERM": "xterm"}, cwd=folder, start_new_session=True
                )
        self.pid = self.process.pid
        self._known: set[psutil.Process] = set()
        self._said: queue.Queue[str | None] = queue.Queue()
        self._heard: list[str] = []
        self._unclaimed: list[str] = []
        self._listener: threading.Thread | None = None
        if self.process.stdout is not None:
            self._listener = threading.Thread(target=self._listen, name="program-listener", daemon=True)
            self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line.decode(errors="replace").rstrip("\n"))
        self._said.put(None)

    def expect(self, word: str, bound: float = BOUND) -> str:
        """Wait for a line that begins with `word`, which no `expect` before had; returns what follows it."""
        for line in self._unclaimed:
            if line == word or line.startswith(word + " "):
                self._unclaimed.remove(line)
                return line[len(word) + 1 :]
        end = time.monotonic() + bound
        while True:
            try:
                line = self._said.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{word!r} was not said in {bound} s\n{self.report()}") from None
            if line is None:
                self._said.put(None)
                raise AssertionError(f"the program ended without saying {word!r}\n{self.report()}")
            self._heard.append(line)
            if line == word or line.startswith(word + " "):
                return line[len(word) + 1 :]
            self._unclaimed.append(line)

    def report(self) -> str:
        """What is known of it, for messages."""
        return f"said: {self._heard}\nstandard error:\n{self.stderr()}"

    def stderr(self) -> str:
        """Its standard error so far."""
        return self._stderr.read_text(errors="replace")

    def tree(self) -> set[psutil.Process]:
        """Its children, grandchildren, and so on; remembered, for they will not be found when it has ended."""
        found = set(psutil.Process(self.pid).children(recursive=True))
        self._known |= found
        return found

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the program itself."""
        os.kill(self.pid, number)

    def interrupt(self) -> None:
        """What a terminal does at Ctrl-C: an interrupt for the whole foreground group."""
        os.killpg(self.pid, signal.SIGINT)

    def wait(self, bound: float = EXIT) -> int:
        """Wait for its end; returns its exit code, negative for a signal."""
        try:
            return self.process.wait(bound)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the program did not end in {bound} s\n{self.report()}") from None

    def watch(self, pids: Iterable[int]) -> None:
        """Remember more processes that must end with it."""
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._known.add(psutil.Process(pid))

    def assert_nothing_is_left(self, bound: float = GONE) -> None:
        """All processes that `tree` and `watch` have seen must have ended."""
        assert_gone(self._known, bound)

    def close(self) -> None:
        """Kill what is left of it, whatever the test came to."""
        if self.process.poll() is None:
            with contextlib.suppress(psutil.Error):
                self.tree()
            self.process.kill()
            self.process.wait()
        for process in self._known:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self._listener is not None:
            self._listener.join(BOUND)
        if self.process.stdout is not None:
            self.process.stdout.close()


def runs(process: psutil.Process) -> bool:
    """Is it alive? One that has ended and that nobody reaped is not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_gone(processes: Iterable[psutil.Process], bound: float = GONE) -> None:
    """Wait until none of them runs."""
    processes = list(processes)
    try:
        wait_until(lambda: not any(map(runs, processes)), bound)
    except AssertionError:
        left = [(process.pid, describe(process)) for process in processes if runs(process)]
        raise AssertionError(f"still running after {bound} s: {left}") from None


def describe(process: psutil.Process) -> str:
    """Its command line."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "ended"


def wait_until(condition: Callable[[], Any], bound: float = BOUND) -> None:
    """Wait for what happens in another process, which notifies nobody."""
    pause = threading.Event()
    end = time.monotonic() + bound
    while not condition():
        assert time.monotonic() < end, f"did not happen within {bound} s"
        pause.wait(0.005)


def workers_of(pid: int | None = None) -> list[psutil.Process]:
    """The worker processes that a process has started, in the order of their starting."""
    children = psutil.Process(pid).children()
    found = []
    for child in children:
        with contextlib.suppress(psutil.Error):
            if "evalpool.backends._pool._worker" in " ".join(child.cmdline()):
                found.append(child)
    return sorted(found, key=lambda process: (process.create_time(), process.pid))
