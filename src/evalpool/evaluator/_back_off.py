"""A storage that failed is left alone for a while.

A server that is away is waited for, by each request for as long as its client was told to. Meanwhile results are given
back as they come, and the storage's own writer goes on trying.
"""

from __future__ import annotations

import math

from evalpool._clock import monotonic

__all__ = ["BackOff"]

LONGEST = 60.0
"""Seconds for which a storage is left alone at the most, however long it took to find out that it failed."""


class BackOff:
    """Until when a storage is left alone. In the caller's thread."""

    def __init__(self) -> None:
        self._until = -math.inf

    def back_off(self, began: float) -> None:
        """The storage failed, after it was asked at `began`."""
        now = monotonic()
        self._until = now + min(10 * (now - began), LONGEST)

    def backing_off(self) -> bool:
        """Is the storage to be left alone still?"""
        return monotonic() < self._until

    def end(self) -> None:
        """Ask it once more now, whatever was before."""
        self._until = -math.inf
