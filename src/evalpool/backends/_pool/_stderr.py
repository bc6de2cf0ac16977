"""What a worker writes to its standard error: what is passed on, and what is kept for the message about its death.

Where Python itself crashed, `faulthandler` writes the stacks of all threads and then the names of all extension
modules, 9 kB of them once scipy is loaded. The stack of the thread that crashed is what the user needs: it is kept
however much comes behind it, and the list of modules goes nowhere.
"""

from __future__ import annotations

__all__ = ["REPORT", "ErrorTail"]

TAIL = 4_000
"""How many bytes are kept: of the end, or of a crash's stack, beginning with its innermost frames."""
BEFORE = 1_000
"""How many bytes before a crash are kept in addition to its stack."""
REPORT = 1 << 18
"""How many bytes of all threads' stacks are read; faulthandler writes at most 100 threads with 100 frames each."""

_CRASH = b"Fatal Python error: "
_MODULES = b"\nExtension modules: "


class ErrorTail:
    """The standard error of one worker, as it comes in."""

    def __init__(self) -> None:
        self._end = bytearray()
        self._before = b""
        self._report: bytearray | None = None  # the text since the last crash; None without a recent one
        self._in_list = False

    def feed(self, data: bytes) -> bytes:
        """Take data that was read; return the part to pass on."""
        if self._report is None and _CRASH not in data:
            self._keep(data)
            return data
        lead, crash, rest = data.rpartition(_CRASH)
        if not crash:
            shown = self._without_modules(data)
            self._keep(shown)
            return shown
        lead = self._without_modules(lead)  # there may have been an earlier crash, such as that of a child
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
            if len(self._report) > REPORT:  # the worker wrote much after it, so the crash was a child's
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
        """Return the kept text, for a message; empty if the worker wrote nothing."""
        if self._report is None:
            return bytes(self._end).decode(errors="replace").strip()
        return (self._before.decode(errors="replace") + _stack(self._report.decode(errors="replace"))).strip()


def _stack(report: str) -> str:
    """Return the lines of a crash, and the stack of the thread that crashed, without those of other threads."""
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
