"""How two programs prove to each other that they know a key, before anything else is said.

::

    who listens                                who connects
    CHALLENGE nonce             ──►
                                ◄──            nonce, proof, hello
    PROVEN, proof               ──►                                   or REFUSED

A proof is the HMAC-SHA256 under the key of which side it is, both nonces and the hello. So the key is never on the
wire, no proof is good a second time or for the other side, and who waits for a proof reads no more than `MOST_BYTES`
of what a stranger sends. Nothing is unpickled; the hello is JSON. Nobody sends anything else before PROVEN, so no byte
of what follows can be read too early, also on a stream.
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
    """The other side does not know the key, or is no evalpool."""


def _proof(key: bytes, side: bytes, challenge: bytes, nonce: bytes, hello: bytes) -> bytes:
    return hmac.new(key, side + challenge + nonce + hello, hashlib.sha256).digest()


class Challenge:
    """What who listens asks of one peer; fed with what came."""

    __slots__ = ("_came", "_key", "_nonce", "verdict")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._nonce = secrets.token_bytes(NONCE)
        self._came = b""
        self.verdict = b""
        """To be sent, once `feed` has returned a hello."""

    @property
    def text(self) -> bytes:
        return CHALLENGE + self._nonce

    @property
    def wanted(self) -> int:
        """How many bytes may come at the most. One more than allowed: who sends too many is known by it."""
        return MOST_BYTES + 1 - len(self._came)

    def feed(self, data: bytes) -> dict[str, Any] | None:
        """The hello of a peer that has proven itself; None: more has to come. Raises `ProofFailed`."""
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
            raise ProofFailed("it does not say who it is")
        self.verdict = PROVEN + _proof(self._key, b"listens", self._nonce, nonce, hello)
        return value


def answer(key: bytes, challenge: bytes, hello: dict[str, Any]) -> tuple[bytes, bytes]:
    """What who connects sends, and the verdict that it must get. Raises `ProofFailed` if that is no challenge."""
    if len(challenge) != len(CHALLENGE) + NONCE or not challenge.startswith(CHALLENGE):
        raise ProofFailed("who listens there is no evalpool, or another version of it")
    text = json.dumps(hello).encode()
    if len(text) > MOST_HELLO:
        raise ValueError(f"a hello of {len(text)} bytes; {MOST_HELLO} are allowed.")
    asked, nonce = challenge[len(CHALLENGE) :], secrets.token_bytes(NONCE)
    sent = _HEAD.pack(nonce, _proof(key, b"connects", asked, nonce, text), len(text)) + text
    return sent, PROVEN + _proof(key, b"listens", asked, nonce, text)
