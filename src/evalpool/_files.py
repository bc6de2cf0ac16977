"""Files that are replaced atomically, new files that nobody else can prepare, and files that only one program writes.

If others may write to a directory and can guess the name of a file that we will create, they can put a link there, to
a file of ours that would then be overwritten. So new files are created with ``O_EXCL``, which follows no link, under a
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

__all__ = ["Taken", "WriterLock", "lock", "name_file", "new_file", "remove_drafts", "replacing", "unlock"]

logger = get_logger()

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], mode: int = 0o666, *, sync: bool = False) -> Iterator[IO[bytes]]:
    """Open a new file for writing; at the end it replaces `path`, and after an exception it is removed.

    Args:
        path: the file to replace; a link is replaced, not followed.
        mode: as in `os.open`.
        sync: whether to wait until the file is on the disk before it replaces `path`.
    """
    directory, name = os.path.split(os.fspath(path))
    draft = os.path.join(directory, f".{name}.{secrets.token_hex(8)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY
    try:
        with os.fdopen(os.open(draft, flags, mode), "wb") as file:
            try:
                yield file
                if not file.closed:
                    file.flush()
                    if sync:  # else, after a power cut, the new name may have an empty file
                        os.fsync(file.fileno())
                file.close()  # Windows cannot rename an open file
                os.replace(draft, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise
    except OSError as error:
        name_file(error, path)
        raise


def name_file(error: BaseException, path: str | os.PathLike[str]) -> None:
    """Add the file to an error of the system that names none, as that of a write to a full disk."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        error.filename = os.fspath(path)


def remove_drafts(path: str | os.PathLike[str]) -> None:
    """Remove the files that killed writers of `path` left in `replacing`. The caller must hold its `WriterLock`."""
    directory, name = os.path.split(os.fspath(path))
    with os.scandir(directory or ".") as entries:
        for entry in entries:
            if entry.name.startswith(f".{name}.") and entry.name.endswith(".new"):
                with contextlib.suppress(OSError):  # another user's
                    os.unlink(entry.path)


def new_file(path: str | os.PathLike[str], mode: int = 0o666) -> int:
    """Create an empty file, removing any at `path`; return a descriptor to read and write it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY
    while True:
        try:
            return os.open(path, flags, mode)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def lock(fd: int, *, wait: bool) -> bool:
    """Lock a file for this descriptor; False if another one has the lock. Closing it, or the process's end, unlocks it.

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
    """Another writer has the file; the text says which one."""


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_held: weakref.WeakValueDictionary[str, WriterLock] = weakref.WeakValueDictionary()
"""By path. A network file system may not distinguish two writers of one process."""


class WriterLock:
    """The right to write a file. Only one writer of all programs has it; also on other hosts, if the file system can
    lock.

    It is a lock on ``.<name>.lock`` next to the file, because the file itself is replaced. The system releases it when
    the process ends in any way. When it is released, the lock file is removed.

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
        """Take the lock; do nothing if this writer has it already.

        Raises:
            Taken: another writer has it.
            OSError: the lock file cannot be created.
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
        """Release the lock. A second call does nothing."""
        self.rest()
        if _held.get(self._path) is self:
            del _held[self._path]

    def rest(self) -> None:
        """Release the lock for other programs, but not for other writers of this program, until the next `take`."""
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
                logger.warning(
                    "%s: this file system has no locks. Make sure that no other program writes it.", self._path
                )
                return fd
            except Taken:
                os.close(fd)
                raise
            try:
                if os.path.samestat(os.fstat(fd), os.stat(self._lock_path, follow_symlinks=False)):
                    return fd
            except FileNotFoundError:
                pass
            os.close(fd)  # the writer that had it has removed it meanwhile

    def _open(self) -> int:
        while True:
            try:
                return os.open(self._lock_path, os.O_RDWR | os.O_CREAT | _NO_LINK | _BINARY, 0o666)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
            os.unlink(self._lock_path)  # a link is not ours

    def _abandon(self) -> None:
        if self._close is not None:
            self._close.detach()
            os.close(self._fd)
            self._fd, self._close = -1, None


def _release(fd: int, lock_path: str) -> None:
    with contextlib.suppress(OSError):  # the directory was removed, or we may not change it any more
        os.unlink(lock_path)
    os.close(fd)


def _in_child() -> None:
    """Close our copies of the parent's locks; they would keep the locks after the parent's end."""
    for held in list(_held.values()):
        held._abandon()
    _held.clear()


at_fork(Order.STORAGES, _in_child)
