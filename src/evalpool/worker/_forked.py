"""The end of a child that a run-function forked, and that went on where it should have ended.

`os.fork` copies the whole worker. A child whose `exec` fails, or that leaves by an exception, by ``sys.exit`` or by a
``return`` amidst the run-function, comes out of the call as a second worker: it would answer for the job in its
parent's place, and take jobs from its channel. It is ended there instead, before it has said anything.
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

    Its standard error tells why, its exit code is that of an interpreter that ends so. What its parent registered for
    its own end (`atexit`, `finally`) is not done here.
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
    """The exit code of an interpreter that ends so; a text is written to standard error, as it does."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    sys.stderr.write(f"{end.code}\n")
    return 1
