"""How workers reach the evaluator: where it listens, and which workers are on its host.

It listens on an address of its host that all nodes can reach, and also on a local socket, over which memory can be
passed (`_pool._lend`). Ray carries the key to the workers. Data of unproven peers is never unpickled (`evalpool._net`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evalpool._net._connect import connect
from evalpool._net._listener import Listener, Peer
from evalpool._net._sockets import listen_at, listen_locally
from evalpool.backends._pool._lend import can_lend

__all__ = ["connect_locally", "connect_nearby", "host_identity", "listen_to_workers"]

CONNECT_WITHIN = 60.0
"""Seconds that connecting to the evaluator and its answer may take: its process may be busy, or hold the GIL."""

Reach = dict[str, Any]
"""What workers get: the address for all, the one for processes on the evaluator's host, the identity of that host, and
the key. Plain values, because a worker without evalpool must be able to unpickle it and report that it is missing."""


def listen_to_workers(host: str, on_peer: Callable[[Peer], None]) -> tuple[Listener, Reach]:
    """Listen at this address, and locally if memory can be passed; `on_peer` as in `Listener`."""
    listening, address = listen_at(host)
    sockets, local = [listening], None
    if can_lend():
        nearby, local = listen_locally()
        sockets.append(nearby)
    listener = Listener(sockets, on_peer, "evalpool-ray-listener")
    return listener, {"address": address, "local": local, "host": host_identity(), "key": listener.key}


def connect_nearby(reach: Reach, hello: dict[str, Any], local: bool) -> socket.socket:
    """In a worker: connect to the evaluator in the fastest way. Raises `OSError` if it cannot be reached.

    Over the local socket, a search loop takes a tenth less time than over loopback TCP.

    Args:
        local: whether the local socket can be reached, as `connect_locally` has found out.
    """
    nearby = connect_locally(reach, hello) if local else None
    return nearby or connect(reach["address"], reach["key"], hello, within=CONNECT_WITHIN)


def connect_locally(reach: Reach, hello: dict[str, Any]) -> socket.socket | None:
    """In a worker: connect to the evaluator if it is on this host; None elsewhere."""
    if reach["local"] is None or reach["host"] != host_identity():
        return None
    try:
        return connect(reach["local"], reach["key"], hello)
    except OSError:  # the same host, but another network namespace: a container
        return None


def host_identity() -> str:
    """Return a text that is the same in two processes only if they can see and kill each other by pid."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()
