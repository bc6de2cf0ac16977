"""A timer that wakes a sleeping thread, armed without waking it: Linux's timerfd."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["Timer"]

_CLOCK_MONOTONIC = 1
_CLOEXEC = 0o2000000


class Timer:
    """A timer that one thread arms while another one waits for it.

    Arming is one system call and no switch of threads, which a condition or an event would be. Python has it since
    3.13; before, the C library is called.

    Raises:
        OSError: this system has none.
    """

    def __init__(self) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError("timerfd is Linux's")
        import ctypes

        class Spec(ctypes.Structure):
            _fields_ = [(name, ctypes.c_long) for name in ("every", "every_ns", "value", "value_ns")]

        libc = ctypes.PyDLL(None, use_errno=True)  # keeps the GIL: the call is faster than taking the GIL again
        self._settime = libc.timerfd_settime
        self._settime.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self.fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, _CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = Spec()
        self._address = ctypes.addressof(self._spec)
        self._closed = False

    def arm(self, seconds: float) -> None:
        """Make `wait` return in `seconds`, which must be below one."""
        self._spec.value_ns = int(seconds * 1e9)
        if not self._closed:
            self._settime(self.fd, 0, self._address, None)

    def wait(self) -> None:
        """Sleep until the timer is due."""
        with contextlib.suppress(OSError):  # the timer was closed
            os.read(self.fd, 8)

    def close(self) -> None:
        """Close the timer; no thread may wait for it."""
        if not self._closed:
            self._closed = True
            os.close(self.fd)
