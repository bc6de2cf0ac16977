"""Makes a rank that exits while it serves say so before it ends.

If a rank exits with code 0, MPICH's launcher takes that as the normal end: it ends the other ranks without a message,
and its own exit code is 0, or that of a rank that it has killed. So we intercept the call before the process ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from evalpool._mpi._crew import Crew

__all__ = ["exits_that_tell"]


@contextlib.contextmanager
def exits_that_tell(crew: Crew, describe: Callable[[str], str]) -> Iterator[None]:
    """Inside this context, an exit of this process prints a message and ends all ranks, with an exit code above 0.

    This works for ``os._exit``, and for C's ``exit``, which Fortran's ``STOP`` and many libraries use. C's ``_exit``
    is a system call and cannot be intercepted.

    Args:
        describe: returns the message, from the name of the call.
    """
    with _exit_of_python(crew, describe), _exit_of_c(crew, describe):
        yield


@contextlib.contextmanager
def _exit_of_python(crew: Crew, describe: Callable[[str], str]) -> Iterator[None]:
    import posix

    leave, pid = os._exit, os.getpid()

    def tell_and_leave(code: int = 0) -> NoReturn:
        if os.getpid() == pid:  # not in a child that the run-function forked
            crew.abort(describe(f"os._exit({code})"), code if isinstance(code, int) and code & 0xFF else 1)
        leave(code)

    for module in (os, posix):  # functions that were pickled by reference name the second
        module._exit = tell_and_leave  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in (os, posix):
            module._exit = leave  # type: ignore[attr-defined]


@contextlib.contextmanager
def _exit_of_c(crew: Crew, describe: Callable[[str], str]) -> Iterator[None]:
    """Intercept C's ``exit`` by a handler as of ``atexit(3)``. The handler is Python code, so it must be removed again.

    Only handlers in the form for C++ libraries, which can be unloaded, can be removed (Itanium C++ ABI, 3.3.6). musl
    cannot do that, and a thread other than the main one may be cut off while it serves: there we do nothing.
    """
    takes_away = platform.libc_ver()[0] == "glibc" or sys.platform == "darwin"
    if not takes_away or threading.current_thread() is not threading.main_thread():
        yield
        return
    library, pid, serving = ctypes.CDLL(None), os.getpid(), True

    def hear(argument: object) -> None:
        if serving and os.getpid() == pid and not crew.is_aborting:
            crew.tell(describe("exit() of C"))
            library.fflush(None)
            # Not MPI_Abort, which may be what called exit. And not _exit(1): if MPICH's launcher (seen with 5.0.2)
            # takes the exit code before it sees the rank's connection close, it never ends the other ranks. An end
            # by a signal tells it to.
            os.kill(pid, signal.SIGKILL)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(hear)
    owner = ctypes.cast(handler, ctypes.c_void_p)  # an address that no other handler has
    library.__cxa_atexit(handler, None, owner)
    try:
        yield
    finally:
        serving = False
        library.__cxa_finalize(owner)
