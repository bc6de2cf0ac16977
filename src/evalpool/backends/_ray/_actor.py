"""What runs in a Ray worker.

The actor's class travels by value: it must be able to say that evalpool is missing there, or is another one.
Everything after that is evalpool's own, imported there.
"""

from __future__ import annotations

import io
import os
import signal
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
            # Copies: a run-function may write to its configuration.
            self._serving.lent.append([bytearray(buffer) for buffer in buffers])

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
    facts = {
        "ticket": ticket,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "where": host_identity(),
        "log": _log_file(),
    }
    # Ray would let a job end by SystemExit where SIGTERM was meant for the worker.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        data = knock(address, key, {**facts, "role": "data"})
        control = knock(address, key, {**facts, "role": "control"})
    except OSError as error:
        raise RuntimeError(
            f"The worker on {facts['host']} cannot reach the search at {address[0]}:{address[1]} ({error}): a firewall "
            "between the hosts must let workers connect to the host of the search."
        ) from error
    for stream in (sys.stdout, sys.stderr):  # what a job prints appears when it prints it
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    return Serving(data, control, _wire.FrameReader(data), deque(), setup)


def _log_file() -> str:
    """The file that Ray lets this worker's standard error go to; empty if it cannot be known."""
    try:
        return os.readlink("/proc/self/fd/2")
    except OSError:
        return ""
