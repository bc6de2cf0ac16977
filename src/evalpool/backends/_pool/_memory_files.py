"""Files in memory that are written again when no process reads them any more.

Pages that exist are written in a quarter of the time that new pages take, which the system must find and clear. But a
file may be written again only when nobody maps it, and a run-function may keep its array in a cache, or fork children
that have it, too.

So the sender keeps a descriptor for writing. For each frame it opens the file once more, takes a shared lock on that
opening (``flock``), and passes this second descriptor. The lock belongs to the opening, which lasts as long as anything
refers to it: a message in a socket, a descriptor, a mapping of the receiver or of its children. When the sender gets
the exclusive lock for its own descriptor, nobody reads the file. Nobody had to say so, not even a process that was
killed.
"""

from __future__ import annotations

import collections
import fcntl
import os
import weakref

from evalpool._fork import generation

__all__ = ["MemoryFile", "MemoryFiles", "of_pool", "of_worker"]

MEBIBYTE = 1 << 20

MUCH_LARGER = 4
"""A file this many times as large as needed is not written again: it would hold its memory for ever."""


class MemoryFile:
    """A file in memory without a name, open for writing; closed with this object.

    Raises:
        OSError: there is no memory, or too many files are open.
    """

    __slots__ = ("__weakref__", "_close", "fd", "size")

    def __init__(self) -> None:
        self.fd = os.memfd_create("evalpool")
        self._close = weakref.finalize(self, os.close, self.fd)
        self.size = 0

    def grow(self, size: int) -> None:
        """Note that it has pages for so many bytes."""
        self.size = max(self.size, size)

    def reader(self) -> int | None:
        """Open it for a reader; None if the system cannot tell when the last reader has gone."""
        try:
            fd = os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
        except OSError:
            os.close(fd)
            return None
        return fd

    def is_read(self) -> bool:
        """Whether a reader is left."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        return False

    def detach(self) -> int:
        """Return the descriptor, which is the caller's from now on."""
        self._close.detach()
        return self.fd


class MemoryFiles:
    """The files of a sender that may be written again. For several threads at once.

    Args:
        most: how many are kept.
        most_bytes: how many bytes they may have together.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: collections.deque[MemoryFile] = collections.deque()
        self._generation = generation[0]

    def take(self, size: int) -> MemoryFile:
        """Return a file that nobody reads and nobody else writes, for so many bytes.

        Raises:
            OSError: there is no memory, or too many files are open.
        """
        if self._generation != generation[0]:  # those of the process that forked this one are not ours to write
            self._generation = generation[0]
            self._kept.clear()
        for _ in range(len(self._kept)):
            try:
                file = self._kept.popleft()
            except IndexError:  # other threads took the rest
                break
            if file.size <= MUCH_LARGER * size and not file.is_read():
                return file
            self._kept.append(file)
        return MemoryFile()

    def give(self, file: MemoryFile) -> int:
        """Return a descriptor for the reader of a file that was written, and keep the file if that is possible."""
        reader = file.reader() if file.size <= self._most_bytes else None
        if reader is None:
            return file.detach()
        self._kept.append(file)
        while len(self._kept) > self._most or sum(one.size for one in tuple(self._kept)) > self._most_bytes:
            self._kept.popleft()
        return reader


def of_pool() -> MemoryFiles:
    """The files with jobs, for all workers of a pool."""
    return MemoryFiles(16, 128 * MEBIBYTE)


def of_worker() -> MemoryFiles:
    """The files with results of one worker. Few, since a node may have hundreds of workers."""
    return MemoryFiles(3, 32 * MEBIBYTE)
