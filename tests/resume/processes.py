"""The test's end of a program of `resume.searches`: started, listened to with a bound, stopped and killed."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

BOUND = 60.0
"""Seconds after which a wait is a hang."""


class Program:
    """A process that runs one function of `resume.searches`."""

    def __init__(self, name: str, *arguments: object) -> None:
        tests = str(Path(__file__).parent.parent)
        path = os.pathsep.join(entry for entry in [tests, *sys.path] if entry)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "resume.searches", name, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        self._text = b""
        self._ended = False

    def line(self) -> str:
        """The next line it says; "" once it has ended."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + BOUND
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._text and not self._ended:
                assert selector.select(max(0.0, deadline - time.monotonic())), f"said nothing for {BOUND} s"
                read = os.read(self.process.stdout.fileno(), 1 << 16)
                self._ended = not read
                self._text += read
        line, _, self._text = self._text.partition(b"\n")
        return line.decode()

    def expect(self, word: str) -> str:
        """What follows the next line's first word, which is `word`."""
        line = self.line()
        first, _, rest = line.partition(" ")
        assert first == word, f"said {line!r} instead of {word!r}; exit code {self.process.poll()}"
        return rest

    def skip_to(self, word: str) -> str:
        """As `expect`, of the first such line among those that follow."""
        while line := self.line():
            first, _, rest = line.partition(" ")
            if first == word:
                return rest
        raise AssertionError(f"ended with {self.process.wait(BOUND)} and did not say {word!r}")

    def rest(self) -> list[str]:
        """Every further line, to its end."""
        lines = []
        while line := self.line():
            lines.append(line)
        return lines

    def tell(self, word: str) -> None:
        """Let it go on from where it waits."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()

    def stop(self) -> None:
        """SIGSTOP; returns when it has stopped."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the program alone, not to its workers; returns when it is gone."""
        self.process.kill()
        self.process.wait(BOUND)

    def close(self) -> None:
        """Kill what is left of it."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.kill()


@contextlib.contextmanager
def programs(n: int, name: str, *arguments: object) -> Iterator[list[Program]]:
    """So many processes that run this function; they end with the block."""
    running = [Program(name, *arguments) for _ in range(n)]
    try:
        yield running
    finally:
        for program in running:
            program.close()


@contextlib.contextmanager
def program(name: str, *arguments: object) -> Iterator[Program]:
    """One process that runs this function."""
    with programs(1, name, *arguments) as [started]:
        yield started
