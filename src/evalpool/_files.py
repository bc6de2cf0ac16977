"""Files that are replaced in one step, files that nobody else chose, and files that one program at a time writes.

In a directory that others may write to, whoever guesses the name of a file that we are about to make can put a link
there, to a file of ours that is then overwritten. So what is new is made by ``O_EXCL``, which follows no link, under a
name that cannot be guessed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import sys
import time
import weakref
from collections.abc import Iterator
from typing import IO

from evalpool._fork import Order, at_fork
from evalpool._log import get_logger

__all__ = ["Taken", "WriterLock", "lock", "new_file", "remove_drafts", "replacing", "unlock"]

logger = get_logger()

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], mode: int = 0o666, *, sync: bool = False) -> Iterator[IO[bytes]]:
    """A new file, to be written; at the end it takes the place of `path`, and at an exception it is removed.

    Args:
        path: what is replaced; a link is replaced, not followed.
        mode: as of `os.open`.
        sync: wait until it is on the disk before it takes the place.
    """
    directory, name = os.path.split(os.fspath(path))
    draft = os.path.join(directory, f".{name}.{secrets.token_hex(8)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY
    with os.fdopen(os.open(draft, flags, mode), "wb") as file:
        try:
            yield file
            if not file.closed:
                file.flush()
                if sync:  # else a power cut may leave the new name with no bytes behind it
                    os.fsync(file.fileno())
            file.close()  # Windows renames no open file
            os.replace(draft, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise


def remove_drafts(path: str | os.PathLike[str]) -> None:
    """Remove what writers of `path` that were killed amidst `replacing` have left. For who holds its `WriterLock`."""
    directory, name = os.path.split(os.fspath(path))
    with os.scandir(directory or ".") as entries:
        for entry in entries:
            if entry.name.startswith(f".{name}.") and entry.name.endswith(".new"):
                with contextlib.suppress(OSError):  # another user's
                    os.unlink(entry.path)


def new_file(path: str | os.PathLike[str], mode: int = 0o666) -> int:
    """The descriptor of an empty file that was made just now, to read and write; what stood at `path` is removed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY
    while True:
        try:
            return os.open(path, flags, mode)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def lock(fd: int, *, wait: bool) -> bool:
    """Lock a file for this descriptor; False if somebody has it. Released when it is closed, or its process ends.

    Raises:
        OSError: the file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        while True:
            try:
                msvcrt.locking(fd, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
                return True
            except OSError:  # LK_LOCK gives up after ten seconds
                if not wait:
                    return False
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Release what `lock` took."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_UN)


class Taken(Exception):
    """Somebody else writes the file; the text says who."""


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_held: weakref.WeakValueDictionary[str, WriterLock] = weakref.WeakValueDictionary()
"""By path. A file system over the network may not tell two writers of one process apart."""


class WriterLock:
    """The right to write a file. One writer has it, of all programs; also of other hosts, if the file system locks.

    It is a lock on ``.<name>.lock`` beside the file, because the file itself is replaced. The system gives it up when
    the process ends, however it ends; released, the file of the lock is removed.

    Args:
        path: the file, absolute.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        directory, name = os.path.split(path)
        self._lock_path = os.path.join(directory, f".{name}.lock")
        self._close: weakref.finalize[[int, str], WriterLock] | None = None
        self._fd = -1

    def take(self) -> None:
        """Have it from now on; nothing if this writer has it.

        Raises:
            Taken: somebody else has it.
            OSError: the file of the lock cannot be made.
        """
        if self._fd >= 0:
            return
        if _held.get(self._path, self) is not self:
            raise Taken(f"another writer of this program (process {os.getpid()} on {socket.gethostname()})")
        fd = self._locked()
        command = " ".join(sys.argv)[:200]
        who = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')} ({command})"
        os.ftruncate(fd, 0)
        os.write(fd, who.encode("utf-8", "backslashreplace"))
        self._fd = fd
        _held[self._path] = self
        self._close = weakref.finalize(self, _release, fd, self._lock_path)

    def release(self) -> None:
        """Give it up. Idempotent."""
        self.rest()
        if _held.get(self._path) is self:
            del _held[self._path]

    def rest(self) -> None:
        """Let other programs have it until the next `take`, and other writers of this program not; no file is left."""
        if self._close is not None:
            self._close()
        self._fd, self._close = -1, None

    def _locked(self) -> int:
        while True:
            fd = self._open()
            try:
                if not lock(fd, wait=False):
                    raise Taken(os.pread(fd, 1000, 0).decode("utf-8", "replace") or "a program that has just begun")
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    os.close(fd)
                    raise
                logger.warning("%s: this file system has no locks; see that no other program writes it.", self._path)
                return fd
            except Taken:
                os.close(fd)
                raise
            try:
                if os.path.samestat(os.fstat(fd), os.stat(self._lock_path, follow_symlinks=False)):
                    return fd
            except FileNotFoundError:
                pass
            os.close(fd)  # who had it has removed it meanwhile

    def _open(self) -> int:
        while True:
            try:
                return os.open(self._lock_path, os.O_RDWR | os.O_CREAT | _NO_LINK | _BINARY, 0o666)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
            os.unlink(self._lock_path)  # a link: it is not ours

    def _abandon(self) -> None:
        if self._close is not None:
            self._close.detach()
            os.close(self._fd)
            self._fd, self._close = -1, None


def _release(fd: int, lock_path: str) -> None:
    with contextlib.suppress(OSError):  # the directory is gone, or not ours to change any more
        os.unlink(lock_path)
    os.close(fd)


def _in_child() -> None:
    """The lock is the parent's; a copy of its descriptor would keep it after the parent's end."""
    for held in list(_held.values()):
        held._abandon()
    _held.clear()


at_fork(Order.STORAGES, _in_child)
