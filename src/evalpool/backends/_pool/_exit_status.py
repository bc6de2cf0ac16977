"""How a child process ended, even in a program that takes the exit statuses of all its children itself.

Such a program ignores SIGCHLD, so that the system keeps no status, or waits for any child in one of its threads. Then
`subprocess` reports 0, whatever happened. Since Linux 6.15, a pidfd gives the status of a process that was reaped;
elsewhere the status cannot be known, and the message says so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess

from evalpool._clock import monotonic
from evalpool._descriptors import can_read

__all__ = ["ExitStatus"]

_INFO = struct.Struct("=QQ11Ii")
"""``struct pidfd_info`` of linux/pidfd.h, first version: a mask, 12 numbers that are not needed, the wait status."""
_GET_INFO = 0xC0000000 | _INFO.size << 16 | 0xFF << 8 | 11
"""``_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)``"""
_HAS_EXIT = 1 << 3


class ExitStatus:
    """The exit status of one child. One thread at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pidfd = _pidfd(process.pid)
        """A descriptor that can be read when the child has ended, even if a child of it has its sockets; or None."""
        self.ended = False
        self.code: int | None = None
        """The exit code, or the negative number of a signal; None before the end, or if it cannot be known."""

    def wait(self, timeout: float | None = 0.0) -> bool:
        """Wait for the end, at most `timeout` seconds, or without limit for None; return whether it has come."""
        if self.ended:
            return True
        pid, deadline = self._process.pid, None if timeout is None else monotonic() + timeout
        while True:
            try:
                reaped, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # other code has taken the status
                self._end(None if self.pidfd is None else _status_of_reaped(self.pidfd))
                return True
            if reaped:
                self._end(status)
                return True
            rest = None if deadline is None else deadline - monotonic()
            if rest is not None and rest <= 0:
                return False
            if self.pidfd is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(rest)
                    self.ended, self.code = True, self._process.returncode
                return self.ended
            can_read(self.pidfd, timeout=rest)

    def _end(self, status: int | None) -> None:
        self.ended = True
        self.code = None if status is None else os.waitstatus_to_exitcode(status)
        self._process.returncode = 0 if self.code is None else self.code  # so that nothing waits for it any more

    def describe(self) -> str:
        """Return a text for the result of `wait`."""
        if not self.ended:
            return "closed its channel and did not end"
        if self.code is None:
            return "ended; its exit status is not known, because this program takes those of its children itself"
        return f"ended with exit code {self.code}" if self.code >= 0 else f"was killed by {_signal_name(-self.code)}"

    def close(self) -> None:
        """Close the pidfd."""
        if self.pidfd is not None:
            with contextlib.suppress(OSError):
                os.close(self.pidfd)


def _pidfd(pid: int) -> int | None:
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        return int(opener(pid))
    except OSError:  # an old kernel
        return None


def _status_of_reaped(pidfd: int) -> int | None:
    import fcntl

    info = bytearray(_INFO.pack(_HAS_EXIT, *[0] * 13))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:  # an older kernel
        return None
    mask, *_, status = _INFO.unpack(info)
    return status if mask & _HAS_EXIT else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
