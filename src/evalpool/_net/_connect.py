"""The side that connects: reach who listens, and prove that both know the key."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from evalpool._net._proof import CHALLENGE, NONCE, REFUSED, VERDICT_BYTES, ProofFailed, answer
from evalpool._net._sockets import Address, kind_of, reach

__all__ = ["connect"]

TRIES = 8
FIRST_PAUSE = 0.02
"""Seconds before the second try; each further one is twice as long."""


def connect(
    address: Address, key: bytes, hello: dict[str, Any] | None = None, *, packets: bool = False,
    within: float | None = None,
) -> socket.socket:  # fmt: skip
    """A connection to who listens there and knows the key; its socket is a blocking one.

    Args:
        address: as `listen_locally` or `listen_at` gave it.
        key: of the listener.
        hello: what it is told of us; JSON, 4 kB at the most.
        packets: messages are kept apart, where local sockets can.
        within: seconds that reaching and each answer may take; None waits as long as the other process lives, which
            may be stopped or busy.

    Raises:
        ProofFailed: who listens there does not know the key, or says that we do not.
        OSError: nobody listens there, or it is another user's, or is too slow.
    """
    pause = FIRST_PAUSE
    for again in reversed(range(TRIES)):
        sock = reach(address, kind_of(address, packets), within)
        try:
            if _introduce(sock, key, hello or {}):
                sock.settimeout(None)
                return sock
        except BaseException:
            sock.close()
            raise
        sock.close()
        if again:  # many came at once, and others were waiting; or it stops listening, which the next try shows
            time.sleep(pause * (1.0 + os.urandom(1)[0] / 256))
            pause *= 2
    raise ConnectionResetError(f"who listens at {address} hung up {TRIES} times before it had proven itself")


def _introduce(sock: socket.socket, key: bytes, hello: dict[str, Any]) -> bool:
    """Prove ourselves; False if the other side hung up."""
    challenge = _read(sock, len(CHALLENGE) + NONCE)
    if challenge is None:
        return False
    sent, expected = answer(key, challenge, hello)
    try:
        sock.sendall(sent)
    except (BrokenPipeError, ConnectionResetError):
        return False
    verdict = _read(sock, VERDICT_BYTES)
    if verdict is None:
        return False
    if verdict[:1] == REFUSED:
        raise ProofFailed("who listens there does not accept our proof: the key is another listener's")
    if verdict != expected:
        raise ProofFailed("who listens there does not know the key")
    return True


def _read(sock: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        try:
            part = sock.recv(size - len(data))
        except ConnectionResetError:
            return None
        if not part:
            return None
        data += part
    return data
