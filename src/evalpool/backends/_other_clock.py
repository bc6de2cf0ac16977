"""Times of another host's clock."""

from __future__ import annotations

from evalpool._clock import monotonic
from evalpool.outcomes import Outcome

__all__ = ["on_our_clock"]


def on_our_clock(outcome: Outcome) -> Outcome:
    """Convert times of another host's clock: only the duration is used, and the end is now."""
    if outcome.start is None or outcome.end is None:
        return outcome
    now = monotonic()
    return outcome._replace(start=now - (outcome.end - outcome.start), end=now)
