"""After a storage failed, no request is sent to it for a while.

Each request to a server that cannot be reached blocks until the client's own timeout. Without requests, `gather`
returns results without this delay; the storage's writer keeps trying.
"""

from __future__ import annotations

import math

from evalpool._clock import monotonic

__all__ = ["BackOff"]

LONGEST = 60.0
"""The longest back-off in seconds, however long the failed request took."""


class BackOff:
    """Until when no request is sent to a storage. Used in the caller's thread."""

    def __init__(self) -> None:
        self._until = -math.inf

    def back_off(self, began: float) -> None:
        """Begin to back off: a request that was sent at `began` failed."""
        now = monotonic()
        self._until = now + min(10 * (now - began), LONGEST)

    def backing_off(self) -> bool:
        """Whether the storage must not be asked yet."""
        return monotonic() < self._until

    def end(self) -> None:
        """Allow the next request at once."""
        self._until = -math.inf
