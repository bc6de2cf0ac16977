"""Standard streams that the command can use, however it was started.

cron, daemons and shells (``>&-``) may start it without some of the descriptors 0 to 2. Then Python has None for the
stream, and the next file that is opened, such as that of a storage, gets the free number: what a run-function prints
from C code would be written into it.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

__all__ = ["complete_streams"]

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def complete_streams() -> None:
    """Open the null device in the place of standard streams that are missing, or that a run-function has closed.

    From then on no character raises in a write.

    A character that the encoding of a stream lacks is written as an escape sequence, unless the user chose another
    handler of such errors (``PYTHONIOENCODING=ascii:replace``).
    """
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:  # the system gives the lowest free number, and the lower ones are open
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            # Not on `number`: a library may have opened a file of its own there before.
            null = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(null, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  it stays
        elif mode == "w" and isinstance(stream, TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
