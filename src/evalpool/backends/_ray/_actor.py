"""What runs in a Ray worker.

The actor's class travels by value: it must be able to say that evalpool is missing there, or is another one.
Everything after that is evalpool's own, imported there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections import deque
from typing import Any

from evalpool._version import __version__
from evalpool.backends._process import _wire
from evalpool.backends._process._worker import Serving
from evalpool.backends._ray._door import host_identity, knock

__all__ = ["enter", "versions", "worker_class"]


def versions() -> tuple[str, str]:
    """What driver and workers must have in common."""
    return __version__, ".".join(map(str, sys.version_info[:2]))


def worker_class() -> type:
    """The class of the actors, local so that it travels by value."""

    class EvalpoolWorker:
        def __init__(self, versions: tuple[str, str], path: list[str]) -> None:
            import os
            import sys

            sys.path.extend(entry for entry in path if entry not in sys.path and os.path.isdir(entry))
            python = ".".join(map(str, sys.version_info[:2]))
            try:
                from evalpool._version import __version__
            except ImportError as error:
                raise RuntimeError(
                    f"evalpool cannot be imported by the worker ({error}): install evalpool {versions[0]} on every "
                    'node, or send it with ray_kwargs={"runtime_env": {"pip": ["evalpool"]}}.'
                ) from None
            if (__version__, python) != tuple(versions):
                raise RuntimeError(
                    f"The search has evalpool {versions[0]} on Python {versions[1]}, and the worker has evalpool "
                    f"{__version__} on Python {python}, in {sys.prefix}: they must be the same."
                )
            self._serving: Any = None

        def serve(self, setup: dict[str, Any], address: tuple[str, int], key: bytes, ticket: int) -> None:
            from evalpool.backends._ray._actor import enter

            self._serving = enter(setup, address, key, ticket)
            self.go_on()

        def take(self, *buffers: Any) -> None:
            self._serving.lent.append(list(buffers))

        def go_on(self) -> None:
            try:
                self._serving.run()
            except SystemExit:  # the evaluator hung up; it kills this actor next
                return

    return EvalpoolWorker


def enter(setup: dict[str, Any], address: tuple[str, int], key: bytes, ticket: int) -> Serving:
    """Connect to the evaluator and be ready to serve.

    Args:
        setup: of the object store: its arrays are shared by all workers of this host, and read-only.
        address, key: of the evaluator's door.
        ticket: which worker this is.
    """
    import ray

    facts = {
        "ticket": ticket,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "where": host_identity(),
        "node": ray.get_runtime_context().get_node_id(),
    }
    try:
        data = knock(address, key, {**facts, "role": "data"})
        control = knock(address, key, {**facts, "role": "control"})
    except OSError as error:
        raise RuntimeError(
            f"The worker on {facts['host']} cannot reach the search at {address[0]}:{address[1]} ({error}): a firewall "
            "between the hosts must let workers connect to the host of the search."
        ) from error
    with contextlib.suppress(AttributeError, ValueError):  # what a job prints appears when it prints it
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return Serving(data, control, _wire.FrameReader(data), deque(), setup)
