"""Sockets for connections between programs: how to listen, and which user is at the other end.

On Linux a local socket has a name and no file (unix(7), "abstract"), so nothing is left behind however a process ends;
all users of the host can see the name. Elsewhere it is a file in a directory that only this user can enter; on Windows,
a port of the loopback interface.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import sys
import tempfile
from typing import Any

__all__ = ["Address", "close_listening", "kind_of", "listen_at", "listen_locally", "reach", "user_at"]

Address = Any
"""As JSON: ``"@name"`` of a socket without a file, the path of a socket with a file, or ``[host, port]``."""

BACKLOG = 1024


def listen_locally(*, packets: bool = False) -> tuple[socket.socket, Address]:
    """Listen for programs of this host only; return the socket and its address. `packets` as in `kind_of`."""
    if not hasattr(socket, "AF_UNIX"):
        listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        return listening, list(listening.getsockname()[:2])
    if sys.platform == "linux":
        address = f"@evalpool-{secrets.token_hex(16)}"
    else:
        address = os.path.join(tempfile.mkdtemp(prefix="evalpool-"), "socket")
    listening = socket.socket(socket.AF_UNIX, kind_of(address, packets))
    try:
        listening.bind(_name(address))
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening, address


def listen_at(host: str) -> tuple[socket.socket, Address]:
    """Listen on a free port of one of this host's addresses; return the socket and its address."""
    listening = socket.create_server((host, 0), backlog=BACKLOG)
    return listening, list(listening.getsockname()[:2])


def close_listening(listening: socket.socket) -> None:
    """Close a listening socket, and remove its file."""
    name = "" if listening.fileno() < 0 else listening.getsockname()
    listening.close()
    if isinstance(name, str) and name:  # a path; a name without a file is bytes
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
            os.rmdir(os.path.dirname(name))


def kind_of(address: Address, packets: bool) -> int:
    """Return the type of the socket at an address. With `packets` it keeps message boundaries, where possible."""
    local_packets = packets and isinstance(address, str) and sys.platform == "linux"
    return socket.SOCK_SEQPACKET if local_packets else socket.SOCK_STREAM


def reach(address: Address, kind: int, within: float | None) -> socket.socket:
    """Connect to a listener, which must be of this user or root, if the system can tell. Raises `OSError`."""
    if not isinstance(address, str):
        sock = socket.create_connection(tuple(address), within)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.settimeout(within)
        sock.connect(_name(address))
        user = user_at(sock)
        if user is not None and not trusted(user):
            raise PermissionError(f"user {user} listens at {address}, and this process belongs to {os.geteuid()}")
    except BaseException:
        sock.close()
        raise
    return sock


def user_at(sock: socket.socket) -> int | None:
    """Return the user of the process at the other end; None if the system cannot tell."""
    if sock.family != getattr(socket, "AF_UNIX", None) or not hasattr(socket, "SO_PEERCRED"):
        return None
    _, user, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(user)


def trusted(user: int) -> bool:
    """Whether a user is this process's own, or root, who could read our memory anyway."""
    return user in (os.geteuid(), 0)


def _name(address: str) -> str:
    return f"\0{address[1:]}" if address.startswith("@") else address
