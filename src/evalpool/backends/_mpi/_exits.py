"""A rank that leaves by itself, amidst its serving, says so before it goes.

MPICH's launcher takes exit code 0 for the end of a rank that is done: it ends the others, says nothing of it, and its
own exit code is 0 or that of a rank that it has killed, as it happens. So we hear of the call before the process ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from evalpool._mpi._crew import Crew

__all__ = ["exits_that_tell"]


@contextlib.contextmanager
def exits_that_tell(crew: Crew, describe: Callable[[str], str]) -> Iterator[None]:
    """Inside, this process leaves with a word, and with an exit code above 0, which ends all ranks.

    So it is for ``os._exit``, and for C's ``exit``, by which Fortran's ``STOP`` and many libraries leave. C's ``_exit``
    goes to the system at once, and nobody hears of it.

    Args:
        describe: what this rank is doing that called ... (the call's name).
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
    """By a handler as of ``atexit(3)``, which is taken away again: it is Python, and must not outlive the interpreter.

    Only the form that C++ has for libraries that are unloaded can be taken away, by a call (Itanium C++ ABI, 3.3.6).
    musl does not do that, and a thread beside the main one may be cut amidst its serving: nothing is heard there.
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
            library._exit(1)  # no MPI_Abort: it may be what called exit

    handler = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(hear)
    owner = ctypes.cast(handler, ctypes.c_void_p)  # an address that nobody else gives
    library.__cxa_atexit(handler, None, owner)
    try:
        yield
    finally:
        serving = False
        library.__cxa_finalize(owner)
