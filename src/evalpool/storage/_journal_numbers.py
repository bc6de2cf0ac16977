"""Who may have what, decided by symbolic links: numbers for jobs, and lost jobs themselves."""

from __future__ import annotations

import os
import threading
import uuid
from itertools import count

from evalpool.errors import CorruptRecord
from evalpool.storage._counters import check_next, refuse

__all__ = ["NumberChain", "claim"]


class NumberChain:
    """The numbers of one search: links, each named by its first number, whose text begins with how many.

    Thread-safe. A number costs one operation on the directory, and one more for each that others took since.
    """

    def __init__(self, directory: str, search_id: str) -> None:
        self._directory = directory
        self._search_id = search_id
        self._next: int | None = None
        self._lock = threading.Lock()
        self._token = uuid.uuid4().hex
        self._tries = count()

    def take(self, n: int, cap: int | None) -> int:
        """See `Storage.reserve`. Raises `OSError`, `FileNotFoundError` if there is no such search."""
        with self._lock:
            if self._next is None:
                self._next = self._end_of_listing()
            while True:
                first = self._next = check_next(self._next, n, self._directory)
                # What others took since we looked only makes it more: so a refusal is exact as well.
                if cap is not None and first + n > cap:
                    raise refuse(self._search_id, self._walk(), n, cap)
                if n == 0:
                    return self._walk()
                text = f"{n}:{self._token}.{next(self._tries)}"
                try:
                    os.symlink(text, self._path(first))
                except FileExistsError:
                    # A network file system may repeat a request whose answer was lost, and then say "exists".
                    if os.readlink(self._path(first)) != text:
                        self._next = first + self._length(first)
                        continue
                self._next = first + n
                return first

    def _walk(self) -> int:
        """Where the chain ends now."""
        assert self._next is not None
        while True:
            try:
                self._next += self._length(self._next)
            except FileNotFoundError:
                return self._next

    def _end_of_listing(self) -> int:
        numbers = [int(name) for name in os.listdir(self._directory) if name.isascii() and name.isdigit()]
        if not numbers:
            return 0
        last = max(numbers)
        return last + self._length(last)

    def _length(self, first: int) -> int:
        text = os.readlink(self._path(first)).partition(":")[0]
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            raise CorruptRecord(f"{self._path(first)} points to {text!r}, which is not a count of numbers.")
        return int(text)

    def _path(self, first: int) -> str:
        return os.path.join(self._directory, str(first))


def claim(path: str, owner: str) -> str:
    """Claim what `path` stands for, once and for all; return the owner whose it is. Raises `OSError`."""
    try:
        os.symlink(owner, path)
    except FileExistsError:
        return os.readlink(path)
    return owner
