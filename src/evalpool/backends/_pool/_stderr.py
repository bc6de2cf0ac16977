"""What a worker writes to its standard error: what is passed on, and what is kept for the message about its death.

Where Python itself crashed, `faulthandler` writes the stacks of all threads and then the names of all extension
modules, 9 kB of them once scipy is loaded. The stack of the thread that crashed is what the user needs: it is kept
however much comes behind it, and the list of modules goes nowhere.
"""

from __future__ import annotations

__all__ = ["REPORT", "ErrorTail"]

TAIL = 4_000
"""Bytes that are kept: of the end, or of the stack of a crash, from its innermost frames on."""
BEFORE = 1_000
"""Bytes before a crash that are kept beside its stack."""
REPORT = 1 << 18
"""Bytes of all threads' stacks that are read; faulthandler writes 100 threads with 100 frames each at the most."""

_CRASH = b"Fatal Python error: "
_MODULES = b"\nExtension modules: "


class ErrorTail:
    """The standard error of one worker, as it comes in."""

    def __init__(self) -> None:
        self._end = bytearray()
        self._before = b""
        self._report: bytearray | None = None  # from the last crash on; None: none, or long ago
        self._in_list = False

    def feed(self, data: bytes) -> bytes:
        """Take what was read; returns what of it is to be passed on."""
        if self._report is None and _CRASH not in data:
            self._keep(data)
            return data
        lead, crash, rest = data.rpartition(_CRASH)
        if not crash:
            shown = self._without_modules(data)
            self._keep(shown)
            return shown
        lead = self._without_modules(lead)  # another crash, of a child perhaps, may have been before
        self._keep(lead)
        self._before = bytes(self._end[-BEFORE:])
        self._report, self._in_list = bytearray(), False
        shown = crash + self._without_modules(rest)
        self._keep(shown)
        return lead + shown

    def _keep(self, data: bytes) -> None:
        self._end += data
        del self._end[:-TAIL]
        if self._report is not None:
            self._report += data
            if len(self._report) > REPORT:  # it went on for long: the crash was a child's
                self._report = None

    def _without_modules(self, data: bytes) -> bytes:
        if self._report is None:
            return data
        shown = b""
        while data:
            if self._in_list:
                _, end, data = data.partition(b"\n")
                self._in_list = not end
            else:
                before, begin, data = data.partition(_MODULES)
                shown += before
                self._in_list = bool(begin)
        return shown

    def text(self) -> str:
        """What is kept, for a message; empty if it wrote nothing."""
        if self._report is None:
            return bytes(self._end).decode(errors="replace").strip()
        return (self._before.decode(errors="replace") + _stack(self._report.decode(errors="replace"))).strip()


def _stack(report: str) -> str:
    """A crash's own lines, and the stack of the thread that crashed; of those that only waited there is no need."""
    parts = [part for part in report.split("\n\n") if part.strip()]
    crashed = [part for part in parts[1:] if part.startswith("Current thread 0x")]
    if crashed:
        parts = [
            parts[0],
            *crashed,
            *(part for part in parts[1:] if not part.startswith(("Thread 0x", "Current thread 0x"))),
        ]
    text = "\n\n".join(parts)
    if len(text) <= TAIL:
        return text
    return text[:TAIL].rpartition("\n")[0] + "\n  ..."
