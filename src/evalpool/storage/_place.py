"""Whether what is open is still what its path names.

A file that is deleted or renamed while it is open takes all that is written to it, and nobody finds that again. The
system does not tell, so whoever writes asks, which costs a microsecond or two.
"""

from __future__ import annotations

import os

from evalpool.errors import StorageUnavailable

__all__ = ["Place"]


class Place:
    """What a path names at a moment, to be asked for later. Raises `OSError` if that is nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        found = os.stat(path)
        self._which = found.st_ino, found.st_dev
        self._least = min(1, found.st_size)

    def check(self, store: str, size: int = 0) -> None:
        """Raise `StorageUnavailable` unless the path still names the same, which is, or is a part of, `store`.

        Args:
            size: bytes that it has at least; it is never empty if it once was not.
        """
        try:
            now = os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            raise self._went("was deleted or renamed", store) from None
        self.compare(now, store, size)

    def compare(self, now: os.stat_result, store: str, size: int = 0) -> None:
        """As `check`, for whom the path was asked already."""
        if (now.st_ino, now.st_dev) != self._which:
            raise self._went("was replaced by another", store)
        if now.st_size < self._least or now.st_size < size:
            raise self._went("was emptied", store)

    def _went(self, became: str, store: str) -> StorageUnavailable:
        return StorageUnavailable(
            f"{self._path} {became} while this program used {store}: what it had written there may be gone. "
            "Put it back; until then nothing is written."
        )
