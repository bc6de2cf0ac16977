"""How two programs prove to each other that they know a key, before anything else is said.

::

    the listener                               the connecting program
    CHALLENGE nonce             ──►
                                ◄──            nonce, proof, hello
    PROVEN, proof               ──►                                   or REFUSED

A proof is the HMAC-SHA256, under the key, of the side, both nonces and the hello. So the key is never sent, and a proof
cannot be used twice or by the other side. From an unproven peer at most `MOST_BYTES` are read. Nothing is unpickled;
the hello is JSON. Neither side sends anything else before PROVEN, so no later byte can be read too early, even on a
stream.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import struct
from typing import Any

__all__ = ["CHALLENGE", "MOST_BYTES", "REFUSED", "VERDICT_BYTES", "Challenge", "ProofFailed", "answer"]

CHALLENGE = b"evalpool"
PROVEN, REFUSED = b"\x01", b"\x00"
NONCE = 32
PROOF = hashlib.sha256().digest_size
VERDICT_BYTES = len(PROVEN) + PROOF
MOST_HELLO = 4096
_HEAD = struct.Struct(f">{NONCE}s{PROOF}sH")
MOST_BYTES = _HEAD.size + MOST_HELLO


class ProofFailed(ConnectionError):
    """The other side does not know the key, or is not evalpool."""


def _proof(key: bytes, side: bytes, challenge: bytes, nonce: bytes, hello: bytes) -> bytes:
    return hmac.new(key, side + challenge + nonce + hello, hashlib.sha256).digest()


class Challenge:
    """The listener's challenge to one peer; it is fed with the bytes that the peer sends."""

    __slots__ = ("_came", "_key", "_nonce", "verdict")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._nonce = secrets.token_bytes(NONCE)
        self._came = b""
        self.verdict = b""
        """The bytes to send after `feed` has returned a hello."""

    @property
    def text(self) -> bytes:
        return CHALLENGE + self._nonce

    @property
    def wanted(self) -> int:
        """How many bytes to read at most: one more than allowed, to recognise a peer that sends too many."""
        return MOST_BYTES + 1 - len(self._came)

    def feed(self, data: bytes) -> dict[str, Any] | None:
        """Take bytes; return the hello when the proof is complete, or None if more must come. Raises `ProofFailed`."""
        came = self._came = self._came + data
        if len(came) < _HEAD.size:
            return None
        nonce, proof, length = _HEAD.unpack_from(came)
        if length > MOST_HELLO or len(came) > _HEAD.size + length:
            raise ProofFailed("it sent more than a proof")
        if len(came) < _HEAD.size + length:
            return None
        hello = came[_HEAD.size :]
        if not hmac.compare_digest(proof, _proof(self._key, b"connects", self._nonce, nonce, hello)):
            raise ProofFailed("it does not know the key")
        value = json.loads(hello)
        if not isinstance(value, dict):
            raise ProofFailed("its hello is not a JSON object")
        self.verdict = PROVEN + _proof(self._key, b"listens", self._nonce, nonce, hello)
        return value


def answer(key: bytes, challenge: bytes, hello: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return what the connecting side sends, and the verdict that it must get. Raises `ProofFailed`."""
    if len(challenge) != len(CHALLENGE) + NONCE or not challenge.startswith(CHALLENGE):
        raise ProofFailed("the listener is not evalpool, or is another version of it")
    text = json.dumps(hello).encode()
    if len(text) > MOST_HELLO:
        raise ValueError(f"The hello has {len(text)} bytes; {MOST_HELLO} are allowed.")
    asked, nonce = challenge[len(CHALLENGE) :], secrets.token_bytes(NONCE)
    sent = _HEAD.pack(nonce, _proof(key, b"connects", asked, nonce, text), len(text)) + text
    return sent, PROVEN + _proof(key, b"listens", asked, nonce, text)
