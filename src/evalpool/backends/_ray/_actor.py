"""The code that runs in a Ray worker.

The actor's class is sent by value, because it must be able to report that evalpool is missing in the worker, or has
another version. All other code is imported there from evalpool.
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
from evalpool.backends._pool import _wire
from evalpool.backends._pool._lend import worth_it
from evalpool.backends._pool._worker import Serving
from evalpool.backends._pool._worker_channel import SocketChannel
from evalpool.backends._ray import _ring
from evalpool.backends._ray._reach import Reach, connect_locally, connect_nearby, host_identity

__all__ = ["enter", "leave", "versions", "worker_class"]


def versions() -> tuple[str, str]:
    """Return the versions that must be the same in driver and workers."""
    return __version__, ".".join(map(str, sys.version_info[:2]))


def worker_class() -> type:
    """Return the class of the actors. It is local, so it is sent by value."""

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

        def serve(self, setup: dict[str, Any], reach: dict[str, Any], ticket: int) -> None:
            from evalpool.backends._ray._actor import enter

            self._serving = enter(setup, reach, ticket)
            self.go_on()

        def take(self, *buffers: Any) -> None:
            # Copies: a run-function may write to its configuration.
            self._serving.lent.append([bytearray(buffer) for buffer in buffers])

        def go_on(self) -> None:
            try:
                self._serving.run()
            except SystemExit:  # the evaluator hung up
                from evalpool.backends._ray._actor import leave

                leave(self._serving)

    return EvalpoolWorker


def enter(setup: dict[str, Any], reach: Reach, ticket: int) -> Serving:
    """Connect to the evaluator and prepare to serve.

    Args:
        setup: from the object store. All workers of this host share its arrays, which are read-only.
        reach: how to reach the evaluator.
        ticket: identifies this worker.
    """
    facts: dict[str, Any] = {
        "ticket": ticket,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "where": host_identity(),
        "log": _log_file(),
    }
    setup = _for_this_host(setup, facts["where"])
    # Ray's handler of SIGTERM raises SystemExit, which would end a job instead of the worker.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    lender = connect_locally(reach, {**facts, "role": "lender"})
    facts["lends"] = lender is not None
    try:
        data, control = (
            connect_nearby(reach, {**facts, "role": role}, lender is not None) for role in ("data", "control")
        )
    except OSError as error:
        host, port = reach["address"]
        raise RuntimeError(
            f"The worker on {facts['host']} cannot reach the search at {host}:{port} ({error}): a firewall "
            "between the hosts must let workers connect to the host of the search."
        ) from error
    for stream in (sys.stdout, sys.stderr):  # show what a job prints at once
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    rings = None if lender is None else _ring.receive(lender)
    return _ActorServing(data, control, setup, lender, rings)


def leave(serving: Serving) -> None:
    """End this actor and its process normally, so that functions registered with `atexit` are called."""
    from ray.actor import exit_actor

    serving.release()
    exit_actor()  # type: ignore[no-untyped-call]


def _for_this_host(setup: dict[str, Any], host: str) -> dict[str, Any]:
    """Remove a storage that only another host can reach; a run-function that uses it gets an error with advice."""
    if setup["storage_host"] in (None, host):
        return setup
    return {**setup, "storage": None, "advice": setup["advice_elsewhere"]}


class _ActorServing(Serving):
    """The serving loop in an actor: on the evaluator's host, large frames go through rings."""

    def __init__(
        self,
        data: socket.socket,
        control: socket.socket,
        setup: dict[str, Any],
        lender: socket.socket | None,
        rings: tuple[_ring.Ring, _ring.Ring] | None,
    ) -> None:
        self._rings = rings
        super().__init__(data, control, _wire.FrameReader(data), deque(), setup, lender)

    def _open_channel(self, data: socket.socket, setup: dict[str, Any], lender: socket.socket | None) -> SocketChannel:
        ring = None if self._rings is None else self._rings[1]
        return _ActorChannel(data, setup["decides"], None, setup["advice"], lender, ring)

    def _borrow(self, head: memoryview) -> _wire.Frame:
        if self._rings is not None and _ring.is_in_ring(head):
            return self._rings[0].take(head)
        return super()._borrow(head)


class _ActorChannel(SocketChannel):
    def __init__(self, *arguments: Any) -> None:
        *others, self._ring = arguments
        super().__init__(*others)

    def send_large(self, kind: int, job: tuple[int, int], payload: bytes, buffers: list[memoryview]) -> None:
        if self._ring is not None and worth_it(payload, buffers):
            frame = self._ring.put(kind, job, payload, buffers)
            if frame is not None:
                self.send_bytes(frame[0])
                return
        super().send_large(kind, job, payload, buffers)


def _log_file() -> str:
    """Return the file to which Ray writes this worker's standard error; empty if it is not known."""
    try:
        return os.readlink("/proc/self/fd/2")
    except OSError:
        return ""
