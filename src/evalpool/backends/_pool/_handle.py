"""What the supervisor knows of one worker process."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterable

from evalpool._clock import monotonic
from evalpool._descriptors import advice, can_read, can_write, make_room, restore_limit_of
from evalpool._launchers import child_environment
from evalpool.backends._pool._exit_status import ExitStatus
from evalpool.backends._pool._lend import can_lend
from evalpool.backends._pool._sockets import Peer
from evalpool.backends._pool._stderr import ErrorTail
from evalpool.outcomes import Worker
from evalpool.worker._path import boot_text, understood_path

__all__ = ["Handle", "spawn", "wait_for_ends"]

DESCRIPTORS = 16
"""More than starting a worker takes for a moment; five stay: three sockets, its standard error, its end."""
LOOK_EVERY = 0.02
"""Seconds between two looks for the ends of processes, where the system tells of none."""
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

_BOOT = (
    "import os, sys; "
    "sys.path[:] = bytes.fromhex(os.environ.pop('EVALPOOL_SYS_PATH')).decode('utf-8', 'surrogatepass').split(chr(0)); "
    "from evalpool.backends._pool._worker import main; main({data}, {control}, {lender})"
)


class Handle(Peer):
    """One worker: its process, its channel, and the jobs it has. Guarded by the supervisor's lock."""

    __slots__ = ("exit", "lender", "process", "stderr", "tail")

    def __init__(
        self,
        index: int,
        process: subprocess.Popen[bytes],
        data: socket.socket,
        control: socket.socket,
        lender: socket.socket | None,
    ) -> None:
        super().__init__(index, Worker(f"process-{index}", socket.gethostname(), process.pid))
        self.process = process
        self.connect(data, control)
        self.lender = lender  # passes descriptors of large frames
        if lender is not None:
            lender.setblocking(False)
        assert process.stderr is not None
        self.stderr = process.stderr.fileno()
        self.exit = ExitStatus(process)
        self.tail = ErrorTail()

    def read_stderr(self) -> bool:
        """Pass on what the worker wrote to its standard error, and keep the end; False when it is closed."""
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
        """How the process ended, with the end of its standard error; waits for it a second at the most."""
        self.exit.wait(1.0)
        text = self.exit.describe()
        while self.read_stderr() and can_read(self.stderr):
            pass
        tail = self.tail.text()
        said = f" The end of its standard error:\n{tail}" if tail else " Its standard error is empty."
        return f"The worker process {self.worker.pid} {text}.{said}"

    def close(self) -> None:
        """Let go of the process's files."""
        self.data.close()
        self.control.close()
        if self.lender is not None:
            self.lender.close()
        self.exit.close()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def close_in_fork(self) -> None:
        """In a forked child of this process: let go of the worker, which is the parent's."""
        self.close()
        self.process.returncode = 0  # nobody here waits for it, or warns that nobody did


def wait_for_ends(handles: Iterable[Handle], within: float) -> list[Handle]:
    """Wait until workers have ended that were told to, at most so many seconds; those that have not.

    What they say meanwhile is passed on: a worker whose standard error nobody reads waits when the pipe is full.
    """
    deadline = monotonic() + within
    running = list(handles)
    speaking = set(running)
    while running := [handle for handle in running if not handle.exit.wait()]:
        rest = deadline - monotonic()
        if rest <= 0:
            break
        ends = [handle.exit.pidfd for handle in running if handle.exit.pidfd is not None]
        speaking = {handle for handle in running if handle in speaking and handle.read_stderr()}
        if len(ends) < len(running):  # there is no pidfd: look again and again
            rest = min(rest, LOOK_EVERY)
        can_read(*ends, *(handle.stderr for handle in speaking), timeout=rest)
    return running


def spawn(index: int, threads: int) -> Handle:
    """Start a worker as a fresh interpreter, in a session of its own.

    Args:
        index: its place among the workers.
        threads: of BLAS and OpenMP in it, unless the user's environment says otherwise.

    Raises:
        OSError: the system gives no process, no memory or no descriptor for it.
    """
    make_room(DESCRIPTORS)
    try:
        return _spawn(index, threads)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise OSError(error.errno, f"{error.strerror}. {advice(DESCRIPTORS)}") from error
        raise


def _spawn(index: int, threads: int) -> Handle:
    environment = {name: str(threads) for name in THREAD_VARIABLES}
    environment.update(child_environment())
    environment["EVALPOOL_SYS_PATH"] = boot_text(understood_path())
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:

        def pair() -> tuple[socket.socket, int]:
            one, other = socket.socketpair()
            ours.enter_context(one)
            theirs.enter_context(other)
            return one, other.fileno()

        data, its_data = pair()
        control, its_control = pair()
        lender, its_lender = pair() if can_lend() else (None, -1)
        boot = _BOOT.format(data=its_data, control=its_control, lender=its_lender)
        process = subprocess.Popen(
            [sys.executable, *subprocess._args_from_interpreter_flags(), "-c", boot],  # type: ignore[attr-defined]
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[fd for fd in (its_data, its_control, its_lender) if fd >= 0],
            env=environment,
            start_new_session=True,  # the terminal's Ctrl-C is for the search
            bufsize=0,
        )
        ours.pop_all()  # from here on the handle closes them
    restore_limit_of(process.pid)
    handle = Handle(index, process, data, control, lender)
    os.set_blocking(handle.stderr, False)
    return handle


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
