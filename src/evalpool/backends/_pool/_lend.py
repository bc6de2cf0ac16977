"""Sends large arrays to another process of this host through shared memory, not through a socket.

The sender writes payload and buffers into a file in memory that has no name (`memfd_create`), and passes its descriptor
over a separate socket (`SCM_RIGHTS`). A small frame on the data socket says how to read it. The receiver maps the file,
so data that a socket would copy four times, in chunks, is copied once. Nothing must be cleaned up: the memory is freed
with the last mapping, even if a process is killed. It is not in a directory with a limited size (such as /dev/shm in
containers). Where the system has no such files, frames are sent through the socket.

The mapping is private: no other process sees what a receiver writes into its array. A file that nobody maps any more is
written again (`_memory_files`).
"""

from __future__ import annotations

import os
import socket
import struct
import weakref
from typing import TYPE_CHECKING, Any

from evalpool.backends._pool import _wire

if TYPE_CHECKING:
    from evalpool.backends._pool._memory_files import MemoryFiles

__all__ = ["LEAST", "Lent", "borrow", "can_lend", "copy_back", "lend", "mapped", "pass_on", "worth_it"]

LEAST = 1 << 18
"""The least bytes for which this is faster than the socket, as measured by `benchmarks/bench_payload.py --sizes`."""

_HEAD = struct.Struct("<qiBH")
"""The fields of `_wire.JOB`, then the frame's kind and its number of buffers."""
_ALIGNMENT = 64
_DESCRIPTOR = struct.Struct("i")


class Lent:
    """A frame whose content is in memory: its descriptor, closed with this object, and the small frame to send."""

    __slots__ = ("__weakref__", "_close", "fd", "frame")

    def __init__(self, fd: int, frame: list[bytes | memoryview]) -> None:
        self.fd = fd
        self.frame = frame
        self._close = weakref.finalize(self, os.close, fd)

    def close(self) -> None:
        """Close the descriptor in this process. Idempotent."""
        self._close()


def can_lend() -> bool:
    """Whether this system has files in memory, and can pass descriptors."""
    return hasattr(os, "memfd_create") and hasattr(socket, "SCM_RIGHTS")


def worth_it(payload: bytes, buffers: list[memoryview]) -> bool:
    """Whether the frame is large enough for this to be faster than the socket."""
    return len(payload) + sum(buffer.nbytes for buffer in buffers) >= LEAST


def lend(
    kind: int, job: tuple[int, int], payload: bytes, buffers: list[memoryview], files: MemoryFiles | None = None
) -> Lent | None:
    """Write a frame into memory. Returns None if the system refuses: there is no memory, or too many files are open.

    Args:
        kind, payload, buffers: the parts of the frame.
        job: number and attempt of its job, which a receiver needs if it cannot map the memory.
        files: where files come from that may be written again; None: a new one for this frame alone.
    """
    from evalpool.backends._pool._memory_files import MemoryFile  # workers that get no large data start sooner

    sizes = [len(payload), *(buffer.nbytes for buffer in buffers)]
    places = _places(sizes)
    try:
        file = files.take(places[-1][1]) if files is not None else MemoryFile()
        for piece, (start, end) in zip([memoryview(payload), *buffers], places, strict=True):
            flat = piece.cast("B") if piece.nbytes else piece
            while start < end:
                start += os.pwrite(file.fd, flat[len(flat) - (end - start) :], start)
    except OSError:
        return None
    file.grow(places[-1][1])
    head = _HEAD.pack(*job, kind, len(buffers)) + b"".join(map(_wire.LENGTH.pack, sizes))
    return Lent(files.give(file) if files is not None else file.detach(), _wire.frame(_wire.LENT, head))


def pass_on(lender: socket.socket, lent: Lent) -> bool:
    """Pass the descriptor; call it before the frame is sent. False if the socket is full (see `copy_back`)."""
    try:
        lender.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.pack(lent.fd))])
    except BlockingIOError:
        return False
    except OSError:  # the other process has ended, which is noticed in another way
        return True
    return True


def copy_back(lent: Lent) -> list[bytes | memoryview]:
    """Return the pieces of the whole frame, to be sent through the socket instead."""
    kind, payload, buffers = _map(lent.fd, memoryview(lent.frame[0])[_wire.HEADER.size :])
    return _wire.frame(kind, bytes(payload), buffers)


def borrow(lender: socket.socket, head: memoryview) -> _wire.Frame:
    """Return the frame that a `LENT` frame with this payload refers to; the payload begins with `_wire.JOB`.

    The descriptor has arrived already, as it is passed first. Raises `OSError` if it cannot be received or mapped.
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
    """Return where each piece begins and ends, in bytes."""
    places, at = [], 0
    for size in sizes:
        places.append((at, at + size))
        at += -(-size // _ALIGNMENT) * _ALIGNMENT
    return places


def mapped(fd: int, size: int, shared: bool = False) -> memoryview:
    """Return the file's memory, mapped until the last view on it is freed; with `shared`, changes by others are seen.

    Python's `mmap` is not used, as it keeps a descriptor open for each mapping: a thousand results would need a
    thousand open files.
    """
    import ctypes  # here and below, not at the top: workers that get no large data start some milliseconds sooner
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
