"""One worker process: its sockets, its standard error, its end."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterable

from evalpool._clock import monotonic
from evalpool._descriptors import advice, can_read, can_write, restore_limit_of
from evalpool.backends._pool._child import DESCRIPTORS, sockets
from evalpool.backends._pool._ends import kill_lock, kill_tree
from evalpool.backends._pool._exit_status import ExitStatus
from evalpool.backends._pool._sockets import Connection
from evalpool.backends._pool._stderr import ErrorTail

__all__ = ["WorkerProcess", "spawn", "wait_for_ends"]

LOOK_EVERY = 0.02
"""Seconds between two checks for the ends of processes, if the system gives no notification."""


class WorkerProcess:
    """One worker's process, and the connection to it."""

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self.process = process
        self.connection = connection
        assert process.stderr is not None
        self.stderr = process.stderr.fileno()
        os.set_blocking(self.stderr, False)
        self.exit = ExitStatus(process)
        self.tail = ErrorTail()

    @property
    def pid(self) -> int:
        return self.process.pid

    def read_stderr(self) -> bool:
        """Pass on the worker's standard error, and keep its end; False when it is closed."""
        try:
            data = os.read(self.stderr, 1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        _pass_on(self.tail.feed(data))
        return True

    def describe_end(self) -> str:
        """Return how the process ended, with the end of its standard error; waits for its end at most a second."""
        self.exit.wait(1.0)
        text = self.exit.describe()
        while self.read_stderr() and can_read(self.stderr):
            pass
        tail = self.tail.text()
        said = f" The end of its standard error:\n{tail}" if tail else " Its standard error is empty."
        return f"The worker process {self.pid} {text}.{said}"

    def kill(self) -> None:
        """Kill the process with all its children, if it has not ended."""
        with kill_lock:
            if not self.exit.wait():
                kill_tree(self.pid)

    def kill_group(self) -> None:
        """Kill processes that it left behind in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the process's files and the connection."""
        self.connection.close()
        self.exit.close()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def close_in_fork(self) -> None:
        """In a forked child: close our copies of the worker's files; the worker is the parent's."""
        self.close()
        self.process.returncode = 0  # it is not our child: do not wait for it, and do not warn about that


def wait_for_ends(processes: Iterable[WorkerProcess], within: float) -> list[WorkerProcess]:
    """Wait, at most `within` seconds, until workers that were told to end have done so; return those that have not.

    What they say meanwhile is passed on: a worker whose standard error nobody reads waits when the pipe is full.
    """
    deadline = monotonic() + within
    running = list(processes)
    speaking = set(running)
    while running := [process for process in running if not process.exit.wait()]:
        rest = deadline - monotonic()
        if rest <= 0:
            break
        ends = [process.exit.pidfd for process in running if process.exit.pidfd is not None]
        speaking = {process for process in running if process in speaking and process.read_stderr()}
        if len(ends) < len(running):  # some have no pidfd, so poll
            rest = min(rest, LOOK_EVERY)
        can_read(*ends, *(process.stderr for process in speaking), timeout=rest)
    return running


def spawn(threads: int) -> WorkerProcess:
    """Start a worker as a fresh interpreter, in a new session.

    Args:
        threads: of BLAS and OpenMP in it, unless the user's environment says otherwise.

    Raises:
        OSError: the system gives no process, no memory or no descriptor for it.
    """
    try:
        with sockets(threads) as (child, connection):
            process = subprocess.Popen(
                child.command,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=child.files,
                env=child.environment,
                start_new_session=True,  # a Ctrl-C in the terminal must reach only the search
                bufsize=0,
            )
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise OSError(error.errno, f"{error.strerror}. {advice(DESCRIPTORS)}") from error
        raise
    restore_limit_of(process.pid)
    return WorkerProcess(process, connection)


def _takes_more() -> bool:
    try:
        fd = sys.stderr.fileno()
    except Exception:  # noqa: BLE001  no file, or none any more; the stream is the program's, and may raise anything
        return True
    try:
        return can_write(fd)
    except (OSError, ValueError):
        return True


def _pass_on(data: bytes) -> None:
    """To our standard error: as Python sees it (a notebook, a test), else as the system does.

    One that nobody reads (a pipe that is full) must not stop the thread that hears all workers: then this is left out.
    """
    if not _takes_more():
        return
    try:
        sys.stderr.write(data.decode(errors="replace"))
        sys.stderr.flush()
    except Exception:  # noqa: BLE001  closed or absent, or a stream of the program's that raises
        with contextlib.suppress(OSError):
            os.write(2, data)
