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
from evalpool.backends._pool import _wire
from evalpool.backends._pool._lend import worth_it
from evalpool.backends._pool._worker import Serving, SocketChannel
from evalpool.backends._ray import _ring
from evalpool.backends._ray._reach import Reach, connect_from, connect_locally, host_identity

__all__ = ["enter", "leave", "versions", "worker_class"]


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
    """Connect to the evaluator and be ready to serve.

    Args:
        setup: of the object store: its arrays are shared by all workers of this host, and read-only.
        reach: how the evaluator is reached.
        ticket: which worker this is.
    """
    facts: dict[str, Any] = {
        "ticket": ticket,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "where": host_identity(),
        "log": _log_file(),
    }
    setup = _for_this_host(setup, facts["where"])
    # Ray would let a job end by SystemExit where SIGTERM was meant for the worker.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    lender = connect_locally(reach, {**facts, "role": "lender"})
    facts["lends"] = lender is not None
    try:
        data = connect_from(reach, {**facts, "role": "data"})
        control = connect_from(reach, {**facts, "role": "control"})
    except OSError as error:
        host, port = reach["address"]
        raise RuntimeError(
            f"The worker on {facts['host']} cannot reach the search at {host}:{port} ({error}): a firewall "
            "between the hosts must let workers connect to the host of the search."
        ) from error
    for stream in (sys.stdout, sys.stderr):  # what a job prints appears when it prints it
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    rings = None if lender is None else _ring.receive(lender)
    return _ActorServing(data, control, setup, lender, rings)


def leave(serving: Serving) -> None:
    """End this actor and its process as a program that is done: what run-functions registered with `atexit` is run."""
    from ray.actor import exit_actor

    serving.release()
    exit_actor()  # type: ignore[no-untyped-call]


def _for_this_host(setup: dict[str, Any], host: str) -> dict[str, Any]:
    """Without a storage that is another host's; then a run-function that asks for it is told what to use."""
    if setup["storage_host"] in (None, host):
        return setup
    return {**setup, "storage": None, "advice": setup["advice_elsewhere"]}


class _ActorServing(Serving):
    """A worker's life in an actor: on the evaluator's host, large frames go through rings."""

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
    """The file that Ray lets this worker's standard error go to; empty if it cannot be known."""
    try:
        return os.readlink("/proc/self/fd/2")
    except OSError:
        return ""
