"""Random numbers that belong to what they are drawn for, not to a stream: the same in every order, on every machine."""

from __future__ import annotations

import hashlib

__all__ = ["uniform"]


def uniform(text: str) -> float:
    """A number above 0 and below 1 that belongs to a text; that of another text is independent of it."""
    digest = hashlib.blake2b(text.encode(), digest_size=7).digest()  # 56 bits; a float takes 53
    return ((int.from_bytes(digest, "big") >> 4) + 0.5) / 2.0**52
