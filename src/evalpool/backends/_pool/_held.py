"""Outcomes that a worker of this machine holds for a moment, in memory that the pool sees: several leave together.

To send an outcome costs a worker more than a short job, and wakes the pool. So outcomes of short jobs that came in one
message are written into a page first, and leave together: at the end of the message, or when the oldest has been held
for `HOLD`. They are in the page before the next job begins. So nothing is lost when that job ends the worker, and
nothing waits when it takes long: the pool reads the page of a worker that has died, and, ever less often, that of one
that is silent. What it has read there comes again by the socket; an outcome of a job that has ended is nobody's.

::

    | how often it was emptied u64 | bytes that are held u64 | frames begun u64 | outcomes (`_wire.FAST`) ... |

The pool reads while the worker writes. The worker sets the second number to nothing before it counts up the first, and
only then writes anew; so what the pool copied counts if the first number is the same before and after. That needs a
processor that shows stores, and does loads, in their order: x86 does.

The third number says which jobs a worker that died had not begun.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

from evalpool._clock import monotonic
from evalpool.backends._pool import _lend, _wire

if TYPE_CHECKING:
    import mmap

__all__ = ["HOLD", "HeldOutcomes", "can_hold", "frames_begun", "make_page", "open_page", "read_held", "view_page"]

HOLD = 0.0002
"""Seconds for which an outcome may be held while others follow."""
SIZE = 4096
_NUMBER = struct.Struct("q")  # in the processor's own form: written and read as a whole
_BYTES = _NUMBER.size  # where the number of bytes stands
_FRAMES = 2 * _NUMBER.size
_FIRST, _STEP = 3 * _NUMBER.size, _wire.FAST.size
_FULL = SIZE - 2 * _STEP
_pack_into = _wire.FAST.pack_into


def can_hold() -> bool:
    """Has this machine what it takes?"""
    return _lend.can_lend() and os.uname().machine in ("x86_64", "AMD64")


class HeldOutcomes:
    """The worker's side. Under its channel's lock.

    Args:
        page: the memory that the pool sees, filled with zeros.
    """

    def __init__(self, page: mmap.mmap | memoryview) -> None:
        self._page: Any = page
        self._numbers = memoryview(page).cast("B")[:_FIRST].cast("q")  # each is written as a whole
        self._emptied = 0
        self._end = _FIRST
        self._since = 0.0
        self._frames = 1  # the worker's setup

    def begin_frame(self) -> None:
        """The next frame of jobs begins."""
        self._frames = self._numbers[2] = self._frames + 1

    def begin(self) -> None:
        """A message of short jobs has come."""
        self._since = monotonic()

    def add(self, number: int, attempt: int, objective: float, start: float, end: float) -> bool:
        """Hold the outcome of a job that has just ended; False: all that is held must leave now."""
        at = self._end
        self._end = after = at + _STEP
        _pack_into(self._page, at, number, attempt, objective, start, end)
        self._numbers[1] = after - _FIRST
        return at < _FULL and end - self._since <= HOLD

    def frame(self) -> bytes:
        """All that is held, as a frame; empty if nothing is. When it has been sent, call `sent`."""
        end = self._end
        return _wire.HEADER.pack(end - _FIRST, 0, _wire.FAST_OUTCOME) + self._page[_FIRST:end] if end > _FIRST else b""

    def sent(self) -> None:
        """What was held has left."""
        self._end = _FIRST
        self._emptied += 1
        self._numbers[1] = 0
        self._numbers[0] = self._emptied
        self._since = monotonic()


def read_held(page: memoryview) -> list[Any]:
    """The pool's side: what a worker holds, as `_wire.FAST` has it; nothing if it just leaves by the socket."""
    emptied = _NUMBER.unpack_from(page)
    (count,) = _NUMBER.unpack_from(page, _BYTES)
    outcomes = bytes(page[_FIRST : _FIRST + count])
    if _NUMBER.unpack_from(page) != emptied:
        return []
    return list(_wire.FAST.iter_unpack(outcomes))


def frames_begun(page: memoryview) -> int:
    """The pool's side: how many frames on data the worker has begun, with its setup; 0 before the first job."""
    return int(_NUMBER.unpack_from(page, _FRAMES)[0])


def make_page() -> int:
    """The descriptor of a page for a worker; -1 where that cannot be had."""
    if not can_hold():
        return -1
    fd = -1
    try:
        fd = os.memfd_create("evalpool-outcomes")
        os.ftruncate(fd, SIZE)
    except OSError:  # no memory, or too many files: then each outcome is sent by itself
        if fd >= 0:
            os.close(fd)
        return -1
    return fd


def view_page(fd: int) -> memoryview | None:
    """The pool's view of a page; None if there is none, and each outcome is then sent by itself."""
    if fd < 0:
        return None
    try:
        return _lend.mapped(fd, SIZE, shared=True)
    except OSError:  # no memory
        return None


def open_page(fd: int) -> HeldOutcomes | None:
    """In the worker: from the descriptor that it was given, which is closed."""
    if fd < 0:
        return None
    import mmap

    page = mmap.mmap(fd, SIZE)
    os.close(fd)
    return HeldOutcomes(page)
