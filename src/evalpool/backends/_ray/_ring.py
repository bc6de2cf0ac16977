"""Sends large arrays between two processes of one host through shared memory that is reused.

The sender copies a frame into a free part of the memory, and a small frame says where; the receiver copies it out and
counts. Two copies between existing pages cost less than one into fresh pages, which the system must find, clear and
take back: for 10 MB it is 1.6 ms instead of 5 ms. The receiver has its own copy, so no process sees what another one
writes, not even a forked child. A frame that does not fit is sent in another way.

::

    | taken in u64 | taken out u64 | ... | to the worker: SIZE bytes | to the evaluator: SIZE bytes |
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
from collections import deque

from evalpool.backends._pool import _wire

__all__ = ["Ring", "is_in_ring", "offer", "receive"]

SIZE = 1 << 26
"""Bytes in each direction: room for a few frames of common size. Pages are allocated at their first use."""
_START = 4096
_HEAD = struct.Struct("<qiBHQ")
"""As `_wire.JOB`; then the frame's kind with the bit `_IN_RING`, the number of its buffers, and its position."""
_KIND_AT = _wire.JOB.size
_IN_RING = 0x80
_ALIGNMENT = 64


class Ring:
    """One direction. The sender calls `put`, the receiver `take`, each in one thread at a time.

    Frames are taken in the order in which they were put. The number of taken frames is in the memory itself, so nothing
    must be sent back.
    """

    def __init__(self, memory: memoryview, taken: memoryview) -> None:
        self._memory = memory
        self._taken = taken
        self._count = 0  # how many frames this side has put, or taken
        self._out: deque[tuple[int, int]] = deque()  # the places of frames that are not known to be taken

    def put(self, kind: int, job: tuple[int, int], payload: bytes, buffers: list[memoryview]) -> list[bytes] | None:
        """Copy a frame into the memory; return what to send instead of it, or None if it does not fit now."""
        sizes = [len(payload), *(buffer.nbytes for buffer in buffers)]
        start = self._room(sum(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes))
        if start is None:
            return None
        at = start
        for piece, size in zip([memoryview(payload), *buffers], sizes, strict=True):
            if size:
                self._memory[at : at + size] = piece.cast("B")
            at += -(-size // _ALIGNMENT) * _ALIGNMENT
        self._out.append((start, at))
        self._count += 1
        head = _HEAD.pack(*job, kind | _IN_RING, len(buffers), start) + b"".join(map(_wire.LENGTH.pack, sizes))
        return [_wire.HEADER.pack(len(head), 0, _wire.LENT) + head]

    def _room(self, size: int) -> int | None:
        out = self._out
        for _ in range(self._taken[0] - (self._count - len(out))):
            out.popleft()
        if not out:
            return 0 if size <= SIZE else None  # at the start, where pages are allocated already
        first, last = out[0][0], out[-1][1]
        if last > first:
            if last + size <= SIZE:
                return last
            return 0 if size <= first else None
        return last if last + size <= first else None

    def take(self, head: memoryview) -> _wire.Frame:
        """Copy out the frame whose small frame has this payload."""
        import numpy as np

        _, _, kind, count, at = _HEAD.unpack_from(head)
        pieces = []
        for index in range(count + 1):
            (size,) = _wire.LENGTH.unpack_from(head, _HEAD.size + _wire.LENGTH.size * index)
            copy = np.empty(size, np.uint8)  # uses huge pages where possible: half the time of a bytearray
            copy[:] = self._memory[at : at + size]
            pieces.append(memoryview(copy))  # type: ignore[arg-type]
            at += -(-size // _ALIGNMENT) * _ALIGNMENT
        self._count += 1
        self._taken[0] = self._count
        return kind & ~_IN_RING, pieces[0], pieces[1:]


def is_in_ring(head: memoryview) -> bool:
    """Whether a `LENT` frame with this payload refers to the memory of a ring."""
    return bool(head[_KIND_AT] & _IN_RING)


def offer(lender: socket.socket) -> tuple[Ring, Ring] | None:
    """On the evaluator's side: make the memory and pass it to the worker; return the rings to and from the worker.

    None if the system refuses. Raises `OSError` if the worker has died.
    """
    try:
        fd = os.memfd_create("evalpool-ring")
    except OSError:
        lender.send(b"\0")
        return None
    try:
        os.ftruncate(fd, _START + 2 * SIZE)
        rings = _rings(fd)
        socket.send_fds(lender, [b"\0"], [fd])
    finally:
        os.close(fd)
    return rings


def receive(lender: socket.socket) -> tuple[Ring, Ring] | None:
    """On the worker's side: return the rings from and to the evaluator, or None. Raises `OSError`."""
    _, fds, _, _ = socket.recv_fds(lender, 1, 1)
    if not fds:
        return None
    try:
        return _rings(fds[0])
    finally:
        os.close(fds[0])


def _rings(fd: int) -> tuple[Ring, Ring]:
    memory = memoryview(mmap.mmap(fd, _START + 2 * SIZE))
    counters = memory[:16].cast("Q")
    areas = memory[_START : _START + SIZE], memory[_START + SIZE :]
    return Ring(areas[0], counters[:1]), Ring(areas[1], counters[1:])
