"""Large arrays to another process of this machine: through memory that both see, not through a socket.

The sender writes payload and buffers into a file in memory without a name (`memfd_create`) and passes its descriptor
over a socket of its own (`SCM_RIGHTS`); a small frame on data says how to read it. The receiver maps it, so what a
socket copies four times, chunk by chunk, is copied once. Nobody has to tidy up: the memory is freed with the last
mapping, also when a process is killed, and it is in no directory whose size somebody limited (as of /dev/shm in
containers). Where the system has no such files, frames go through the socket.

The mapping is private: what a receiver writes into its array is seen by nobody else, as in its own memory.
"""

from __future__ import annotations

import os
import socket
import struct
import weakref
from typing import Any

from evalpool.backends._pool import _wire

__all__ = ["LEAST", "Lent", "borrow", "can_lend", "copy_back", "lend", "mapped", "pass_on", "worth_it"]

LEAST = 1 << 18
"""Bytes from which on this is quicker than the socket, as measured (`benchmarks/bench_payload.py --sizes`)."""

_HEAD = struct.Struct("<qiBH")
"""As `_wire.JOB`, then the frame's kind and how many buffers it has."""
_ALIGNMENT = 64
_DESCRIPTOR = struct.Struct("i")


class Lent:
    """A frame whose content is in memory: its descriptor, closed with this object, and what to send for it."""

    __slots__ = ("__weakref__", "_close", "fd", "frame")

    def __init__(self, fd: int, frame: list[bytes | memoryview]) -> None:
        self.fd = fd
        self.frame = frame
        self._close = weakref.finalize(self, os.close, fd)

    def close(self) -> None:
        """Let go of it on this side. Idempotent."""
        self._close()


def can_lend() -> bool:
    """Has this system what it takes?"""
    return hasattr(os, "memfd_create") and hasattr(socket, "SCM_RIGHTS")


def worth_it(payload: bytes, buffers: list[memoryview]) -> bool:
    """Is it large enough?"""
    return len(payload) + sum(buffer.nbytes for buffer in buffers) >= LEAST


def lend(kind: int, job: tuple[int, int], payload: bytes, buffers: list[memoryview]) -> Lent | None:
    """Put a frame into memory; None if the system refuses (it has no memory, or we have too many files).

    Args:
        kind, payload, buffers: of the frame.
        job: the number and attempt that it is about, for who cannot take it.
    """
    try:
        fd = os.memfd_create("evalpool")
    except OSError:
        return None
    sizes = [len(payload), *(buffer.nbytes for buffer in buffers)]
    head = _HEAD.pack(*job, kind, len(buffers)) + b"".join(map(_wire.LENGTH.pack, sizes))
    lent = Lent(fd, _wire.frame(_wire.LENT, head))
    try:
        for piece, (start, end) in zip([memoryview(payload), *buffers], _places(sizes), strict=True):
            flat = piece.cast("B") if piece.nbytes else piece
            while start < end:
                start += os.pwrite(fd, flat[len(flat) - (end - start) :], start)
    except OSError:
        lent.close()
        return None
    return lent


def pass_on(lender: socket.socket, lent: Lent) -> bool:
    """Pass the descriptor, before the frame is sent. False if the socket takes no more (see `copy_back`)."""
    try:
        lender.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.pack(lent.fd))])
    except BlockingIOError:
        return False
    except OSError:  # the other side is gone; its end is noticed otherwise
        return True
    return True


def copy_back(lent: Lent) -> list[bytes | memoryview]:
    """The pieces that go through the socket instead."""
    kind, payload, buffers = _map(lent.fd, memoryview(lent.frame[0])[_wire.HEADER.size :])
    return _wire.frame(kind, bytes(payload), buffers)


def borrow(lender: socket.socket, head: memoryview) -> _wire.Frame:
    """The frame that a `LENT` frame with this payload stands for; the payload begins as `_wire.JOB`.

    The descriptor is there: it was passed first. Raises `OSError` if it cannot be taken or mapped.
    """
    _, ancillary, _, _ = lender.recvmsg(1, socket.CMSG_SPACE(_DESCRIPTOR.size), socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            (fd,) = _DESCRIPTOR.unpack_from(data)
            try:
                return _map(fd, head)
            finally:
                os.close(fd)
    raise OSError("the descriptor of lent memory did not come; this process may have too many files open")


def _map(fd: int, head: memoryview) -> _wire.Frame:
    _, _, kind, count = _HEAD.unpack_from(head)
    sizes = [_wire.LENGTH.unpack_from(head, _HEAD.size + _wire.LENGTH.size * n)[0] for n in range(count + 1)]
    places = _places(sizes)
    memory = mapped(fd, max(1, places[-1][1]))
    pieces = [memory[start:end] for start, end in places]
    return kind, pieces[0], pieces[1:]


def _places(sizes: list[int]) -> list[tuple[int, int]]:
    """Where each piece begins and ends."""
    places, at = [], 0
    for size in sizes:
        places.append((at, at + size))
        at += -(-size // _ALIGNMENT) * _ALIGNMENT
    return places


def mapped(fd: int, size: int, shared: bool = False) -> memoryview:
    """The file's memory, until the last view on it is gone; with `shared` as others write it.

    Not by Python's `mmap`, which keeps a descriptor open for each: a thousand results would be a thousand files.
    """
    import ctypes  # here and below: a worker that is sent nothing large starts some milliseconds sooner
    import mmap

    libc = _libc()
    address = libc.mmap(
        None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE, fd, 0
    )
    if address == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    memory = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(memory, libc.munmap, address, size).atexit = False
    return memoryview(memory).cast("B")


def _libc() -> Any:
    global _loaded
    if _loaded is None:
        import ctypes

        libc: Any = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        _loaded = libc
    return _loaded


_loaded: Any = None
