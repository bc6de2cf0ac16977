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
        self._found = os.stat(path)

    def check(self, store: str, size: int = 0) -> None:
        """Raise `StorageUnavailable` unless the path still names the same, which is, or is a part of, `store`.

        Args:
            size: bytes that it has at least; it is never empty if it once was not.
        """
        try:
            now = os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            became = "was deleted or renamed"
        else:
            if not os.path.samestat(now, self._found):
                became = "was replaced by another"
            elif now.st_size < max(size, min(1, self._found.st_size)):
                became = "was emptied"
            else:
                return
        raise StorageUnavailable(
            f"{self._path} {became} while this program used {store}: what it had written there may be gone. "
            "Put it back; until then nothing is written."
        )
