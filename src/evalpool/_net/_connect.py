"""The side that connects: it reaches a listener, and both prove that they know the key."""

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
    """Connect to a listener that knows the key; return a blocking socket.

    Args:
        address: as `listen_locally` or `listen_at` returned it.
        key: of the listener.
        hello: what the listener is told about us; JSON, at most 4 kB.
        packets: whether the socket keeps message boundaries, where local sockets can.
        within: seconds that connecting and each answer may take; None waits as long as the other process lives, which
            may be stopped or busy.

    Raises:
        ProofFailed: the listener does not know the key, or says that we do not.
        OSError: there is no listener, it belongs to another user, or it is too slow.
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
        if again:  # many programs connected at once; or the listener is closing, which the next try shows
            time.sleep(pause * (1.0 + os.urandom(1)[0] / 256))
            pause *= 2
    raise ConnectionResetError(f"the listener at {address} closed the connection {TRIES} times before its proof")


def _introduce(sock: socket.socket, key: bytes, hello: dict[str, Any]) -> bool:
    """Exchange the proofs; False if the other side closed the connection."""
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
        raise ProofFailed("the listener does not accept our proof: the key is another listener's")
    if verdict != expected:
        raise ProofFailed("the listener does not know the key")
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
