"""Large arrays between two processes of one host: through memory that both see and that is used again and again.

The sender copies a frame into a part of the memory that is free, and a small frame says where; the receiver copies it
out and counts. Two copies of pages that are there already cost less than one into fresh pages, which the system has to
find, empty and take back: for 10 MB 1.6 ms against 5 ms. Copies are the receiver's own, so nobody sees what another one
writes, children that it forks included. What does not fit goes another way.

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
"""Bytes each way: a few frames of what is common. Pages are taken when they are first used."""
_START = 4096
_HEAD = struct.Struct("<qiBHQ")
"""As `_wire.JOB`; the kind of the frame with `_IN_RING`, the number of its buffers, and where it begins."""
_KIND_AT = _wire.JOB.size
_IN_RING = 0x80
_ALIGNMENT = 64


class Ring:
    """One direction. The sender calls `put`, the receiver `take`, each from one thread at a time.

    Frames are taken in the order in which they were put. How many have been is a number in the memory itself, so that
    nothing has to be sent back.
    """

    def __init__(self, memory: memoryview, taken: memoryview) -> None:
        self._memory = memory
        self._taken = taken
        self._count = 0  # frames that this side has put, or taken
        self._out: deque[tuple[int, int]] = deque()  # where those are that were not taken, as far as known

    def put(self, kind: int, job: tuple[int, int], payload: bytes, buffers: list[memoryview]) -> list[bytes] | None:
        """Copy a frame; returns what is to be sent for it, None if it does not fit now."""
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
            return 0 if size <= SIZE else None  # from the start, where the pages are
        first, last = out[0][0], out[-1][1]
        if last > first:
            if last + size <= SIZE:
                return last
            return 0 if size <= first else None
        return last if last + size <= first else None

    def take(self, head: memoryview) -> _wire.Frame:
        """Copy a frame out, whose small one has this payload."""
        import numpy as np

        _, _, kind, count, at = _HEAD.unpack_from(head)
        pieces = []
        for index in range(count + 1):
            (size,) = _wire.LENGTH.unpack_from(head, _HEAD.size + _wire.LENGTH.size * index)
            copy = np.empty(size, np.uint8)  # in huge pages, where there are: half the time of a bytearray's
            copy[:] = self._memory[at : at + size]
            pieces.append(memoryview(copy))  # type: ignore[arg-type]
            at += -(-size // _ALIGNMENT) * _ALIGNMENT
        self._count += 1
        self._taken[0] = self._count
        return kind & ~_IN_RING, pieces[0], pieces[1:]


def is_in_ring(head: memoryview) -> bool:
    """Does a `LENT` frame with this payload speak of memory of a ring?"""
    return bool(head[_KIND_AT] & _IN_RING)


def offer(lender: socket.socket) -> tuple[Ring, Ring] | None:
    """The evaluator's side: make the memory and pass it on; the rings to the worker and from it.

    None if the system refuses. Raises `OSError` if the worker is gone.
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
    """The worker's side: the rings from the evaluator and to it, if there are any. Raises `OSError`."""
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
