"""Checks that a file or directory that is in use is still the one that its path names.

A file that is deleted or renamed while it is open still accepts everything that is written to it, but nobody will find
these records again. The system does not report this. So the writer checks it, which takes one or two microseconds.
"""

from __future__ import annotations

import os

from evalpool.errors import StorageUnavailable

__all__ = ["Place"]


class Place:
    """Remembers which file or directory a path names now, to compare later. Raises `OSError` if there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        found = os.stat(path)
        self._which = found.st_ino, found.st_dev
        self._least = min(1, found.st_size)

    def check(self, store: str, size: int = 0) -> None:
        """Raise `StorageUnavailable` unless the path still names the same file or directory.

        Args:
            store: the storage that uses the path, as the error message names it.
            size: bytes that the file must have at least. If it was not empty before, it must not be empty now.
        """
        try:
            now = os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            raise self._went("was deleted or renamed", store) from None
        self.compare(now, store, size)

    def compare(self, now: os.stat_result, store: str, size: int = 0) -> None:
        """Do the same as `check`, when the caller already has the result of `os.stat` for the path."""
        if (now.st_ino, now.st_dev) != self._which:
            raise self._went("was replaced by another", store)
        if now.st_size < self._least or now.st_size < size:
            raise self._went("was emptied", store)

    def _went(self, became: str, store: str) -> StorageUnavailable:
        return StorageUnavailable(
            f"{self._path} {became} while this program used {store}: what it had written there may be gone. "
            "Put it back; until then nothing is written."
        )
