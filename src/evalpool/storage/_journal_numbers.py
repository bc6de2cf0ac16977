"""Decides by symbolic links which client gets numbers for jobs, and which owner gets a lost job."""

from __future__ import annotations

import os
import threading
import uuid
from itertools import count

from evalpool.errors import CorruptRecord
from evalpool.storage._counters import check_next, refuse

__all__ = ["NumberChain", "claim"]


class NumberChain:
    """Takes numbers of one search. Each link is named by its first number; its text begins with how many it takes.

    Thread-safe. Taking numbers costs one operation on the directory, and one more for each link that others made since.
    """

    def __init__(self, directory: str, search_id: str) -> None:
        self._directory = directory
        self._search_id = search_id
        self._next: int | None = None
        self._lock = threading.Lock()
        self._token = uuid.uuid4().hex
        self._tries = count()

    def take(self, n: int, cap: int | None) -> int:
        """Take numbers: see `Storage.reserve`. Raises `OSError`; `FileNotFoundError` if there is no such search."""
        with self._lock:
            if self._next is None:
                self._next = self._end_of_listing()
            while True:
                first = self._next = check_next(self._next, n, self._directory)
                # Numbers that others took since can only increase `first`, so the refusal is right, too.
                if cap is not None and first + n > cap:
                    raise refuse(self._search_id, self._walk(), n, cap)
                if n == 0:
                    return self._walk()
                text = f"{n}:{self._token}.{next(self._tries)}"
                try:
                    os.symlink(text, self._path(first))
                except FileExistsError:
                    # If a reply was lost, a network file system repeats the request and then reports that the link
                    # exists, although this client made it.
                    if os.readlink(self._path(first)) != text:
                        self._next = first + self._length(first)
                        continue
                self._next = first + n
                return first

    def _walk(self) -> int:
        """Return the number after the last link of the chain, as it is now."""
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
    """Claim the lost job that `path` stands for, unless another owner has; return the owner that has it.

    Raises `OSError`.
    """
    try:
        os.symlink(owner, path)
    except FileExistsError:
        return os.readlink(path)
    return owner
