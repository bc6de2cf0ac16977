"""Ends a child that a run-function forked, if it continues where it should have ended.

`os.fork` copies the whole worker. If the child's `exec` fails, or it leaves the run-function by an exception, by
``sys.exit`` or by ``return``, it would continue as a second worker: it would report the job instead of its parent, and
take jobs from the parent's channel. So it is ended at once, before it sends anything.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import NoReturn

__all__ = ["end_of_child", "exit_code"]


def end_of_child(exception: BaseException | None) -> NoReturn:
    """End this process, a forked child that came out of its run-function.

    It prints the reason on standard error, and its exit code is the one that the interpreter would have. What the
    parent registered for its own end (`atexit`, `finally`) is not run here.
    """
    code = 1
    try:
        if isinstance(exception, SystemExit):
            code = exit_code(exception)
        elif exception is None:
            code = 0
        else:
            sys.stderr.write(f"A child process ({os.getpid()}) that the run-function had forked raised:\n")
            traceback.print_exception(type(exception), exception, exception.__traceback__)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none
                stream.flush()
    finally:
        os._exit(code)  # in any case: the streams are the program's, and may be None or raise anything


def exit_code(end: SystemExit) -> int:
    """Return the exit code that the interpreter would have; a text is written to standard error, as it does."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    sys.stderr.write(f"{end.code}\n")
    return 1
