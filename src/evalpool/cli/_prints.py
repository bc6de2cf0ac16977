"""Keeping what run-functions print out of the command's own output, and out of a live view that is redrawn.

A print may come from this process, from workers, which inherit our standard output, and from programs that these
start. So we redirect the file descriptor, not only `sys.stdout`.
"""

from __future__ import annotations

import contextlib
import io
import os
import selectors
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from evalpool._guard import Guard, start_guarded

__all__ = ["Captured", "is_process_stdout", "stdout_on_stderr"]

STDOUT, STDERR = 1, 2


@contextlib.contextmanager
def stdout_on_stderr() -> Iterator[TextIO]:
    """Inside the block, all prints go to standard error; yields a file that writes to the original standard output."""
    if not is_process_stdout():
        out = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):
            yield out
        return
    _flush()
    kept = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    try:
        with open(os.dup(kept), "w", encoding="utf-8") as out:
            yield out
    finally:
        _flush()
        os.dup2(kept, STDOUT)
        os.close(kept)


class Captured:
    """Takes what is printed on a terminal, line by line, so that a view can show it above itself.

    Processes that are started meanwhile print into our pipe, and must have ended before `close`.

    Args:
        show: called with each line, in a thread of ours.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        _flush()
        self._kept = os.dup(STDOUT)
        self._pipe, write = os.pipe()
        os.dup2(write, STDOUT)
        os.close(write)
        self._over, self._end = os.pipe()
        self._rest = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._selector.register(self._over, selectors.EVENT_READ)
        self._thread = start_guarded("evalpool-prints", Guard("The thread that reads what is printed"), self._turn)

    def close(self) -> None:
        """Restore standard output; everything that was printed until now has been shown."""
        _flush()
        os.dup2(self._kept, STDOUT)
        os.close(self._end)  # the thread reads what is in the pipe, and then ends
        self._thread.join()
        self._selector.close()
        for fd in (self._pipe, self._over, self._kept):
            os.close(fd)

    def _turn(self) -> bool:
        """Show what can be read; False at the end. Whatever `show` raises, a program that prints never waits for us."""
        ready = {key.fd for key, _ in self._selector.select()}
        data = os.read(self._pipe, 1 << 16) if self._pipe in ready else b""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop() if data else b""
        for line in lines:
            if line or data:
                self._tell(line)
        return bool(data)

    def _tell(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]  # of a line that was redrawn, the last
        self._show(text)


def is_process_stdout() -> bool:
    """Whether `sys.stdout` is the standard output of this process, and not an object that replaces it."""
    try:
        return sys.stdout.fileno() == STDOUT
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return False


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
