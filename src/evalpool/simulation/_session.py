"""A caller's side of a simulated run: how one thread or process talks to the coordinator.

Both kinds of sessions have the same few methods. A question blocks until its reply comes. The reply to a result comes
at its virtual end.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any, Protocol

import evalpool.errors
from evalpool._clock import monotonic
from evalpool._json import from_json
from evalpool.errors import MemberLost, SimulationError
from evalpool.simulation import _protocol as protocol
from evalpool.simulation._caller import Caller, Reply
from evalpool.simulation._coordinator import Coordinator
from evalpool.simulation._protocol import CallerChannel, Kind
from evalpool.simulation._run import Begun, Joined, Over, Released, Result, RunSettings
from evalpool.simulation._server import Presence

__all__ = ["CallerSession", "SocketSession", "ThreadSession", "who_am_i"]


class CallerSession(Protocol):
    """The methods that the wrapper needs.

    Attributes:
        pid: the process of this session; a forked child must open its own session.
        seed: of the next job.
        over: whether every call returns the sentinel.
        worker: the index of the virtual worker that this caller is.
        closed: whether the caller has left.
        busy: held during a call; a worker runs one job at a time.
        calls: how many evaluations this worker has made.
        first: the first decision began with the run.
        returned: when the last call returned, by `_clock.perf_counter`; None before the first.
        returned_cpu: the same by `_clock.thread_time`.
    """

    pid: int
    seed: int
    over: bool
    worker: int
    closed: bool
    busy: threading.Lock
    calls: int
    first: bool
    returned: float | None
    returned_cpu: float

    def look(self) -> None:
        """Read a notice that has come since the last call: `over` may become true. Raises `MemberLost`."""

    def call(self, overhead: float, wall: float, fields: dict[str, Any]) -> Begun | Over:
        """Ask whether this caller may evaluate. Raises `BadArgument` for wrong arguments."""

    def started(self, overhead: float, wall: float) -> None:
        """Tell the coordinator that this caller begins to evaluate."""

    def evaluating(self, flag: int) -> None:
        """Set whether the objective runs, so that a job counts as lost if this caller dies."""

    def finish(self, overhead: float | None, wall: float, result: Result) -> Released | Over:
        """Send a result and wait for its virtual end. Raises `MemberLost`, `SimulationError`."""

    def close(self) -> None:
        """Leave the run, possibly during an evaluation. A second call does nothing."""


def who_am_i() -> str:
    return f"process {os.getpid()}, thread {threading.current_thread().name}"


def _told_next(error: SimulationError) -> MemberLost | None:
    """What the next call is told of a run that has broken, before it evaluates anything."""
    return MemberLost(*error.args) if isinstance(error, MemberLost) else None


class ThreadSession:
    """A caller in the process of the coordinator."""

    worker: int
    seed: int
    calls: int
    first: bool

    def __init__(self, coordinator: Coordinator, worker: int | None) -> None:
        self.pid = os.getpid()
        self.busy = threading.Lock()
        self.returned: float | None = None
        self.returned_cpu = 0.0
        self._coordinator = coordinator
        self._condition = threading.Condition(coordinator.lock)
        self._replies: list[Reply] = []
        self._woken = False
        self._lost: MemberLost | None = None
        self._evaluating = False
        self.closed = False
        self.caller = Caller(who_am_i(), self._deliver, self._wake)
        coordinator.join(self.caller, worker)
        joined = self._reply()
        self.over = isinstance(joined, Over)
        place = Joined(0, 0, 0, False) if isinstance(joined, Over) else joined
        self.worker, self.seed, self.calls, self.first = place

    def _deliver(self, reply: Reply) -> None:
        self._replies.append(reply)
        self._condition.notify()

    def _wake(self) -> None:
        self._woken = True
        self._condition.notify()

    def _reply(self) -> Any:
        while True:
            with (
                self._coordinator.lock
            ):  # not the condition: its __enter__ is Python code, where a Ctrl-C would leave the lock taken
                if not self._replies:
                    self._woken = False
                    remaining = self._coordinator.deadline() - monotonic()
                    self._condition.wait_for(
                        lambda: self._replies or self._woken, None if remaining > threading.TIMEOUT_MAX else remaining
                    )
                if self._replies:
                    reply = self._replies.pop(0)
                    if isinstance(reply, SimulationError):
                        self._lost = _told_next(reply)
                        raise reply
                    return reply
            self._coordinator.tick()

    def look(self) -> None:
        if self._lost is not None:
            raise MemberLost(*self._lost.args)
        if self._replies:
            self._reply()
            self.over = True

    def call(self, overhead: float, wall: float, fields: dict[str, Any]) -> Begun | Over:
        self._coordinator.call(self.caller, overhead, wall, fields)
        reply: Begun | Over = self._reply()
        return reply

    def started(self, overhead: float, wall: float) -> None:
        self._coordinator.started(self.caller, overhead, wall)

    def evaluating(self, flag: int) -> None:
        self._evaluating = bool(flag)

    def finish(self, overhead: float | None, wall: float, result: Result) -> Released | Over:
        self._coordinator.finish(self.caller, overhead, wall, result)
        self._evaluating = False
        reply: Released | Over = self._reply()
        return reply

    def close(self) -> None:
        if not self.closed and self.pid == os.getpid():
            self.closed = True
            self._coordinator.leave(self.caller, clean=True, evaluating=self._evaluating)


class SocketSession:
    """A caller in another process.

    Args:
        directory: of the run.
        channel: connected to the coordinator; both sides have proven that they know the run's key.
        settings: this caller's settings.
        worker: the index of the worker that it asks for; None for any.

    Raises:
        SimulationError: the coordinator refused this caller.
        MemberLost: the run was stopped before.
    """

    def __init__(self, directory: str, channel: CallerChannel, settings: RunSettings, worker: int | None) -> None:
        self.pid = os.getpid()
        self.busy = threading.Lock()
        self.returned: float | None = None
        self.returned_cpu = 0.0
        self.over = False
        self.worker = self.seed = self.calls = 0
        self.first = False
        self._channel = channel
        self._directory = directory
        self._presence: Presence | None = None
        self._noticed = 0
        self._lost: MemberLost | None = None
        self.closed = False
        who = {"name": who_am_i(), "worker": worker, "settings": settings.as_json()}
        self._send_json(Kind.JOIN, who)
        kind, content = self._receive()
        if kind == Kind.OVER:
            self.over = True
            return
        self.worker, self.seed, self.calls, self.first = protocol.unpack_joined(content)
        self._presence = Presence(directory, settings.num_callers)
        self._noticed = self._presence.noticed(self.worker)

    def look(self) -> None:
        if self._lost is not None:
            raise MemberLost(*self._lost.args)
        if not (self._presence is not None and self._presence.flags[self._noticed]):
            return
        try:
            frame = self._channel.available()
        except EOFError:
            raise self._coordinator_lost() from None
        if frame is not None:
            self._check(*frame)
            self.over = True

    def call(self, overhead: float, wall: float, fields: dict[str, Any]) -> Begun | Over:
        self._send_json(Kind.CALL, [overhead, wall, fields])
        kind, content = self._receive()
        return Over() if kind == Kind.OVER else Begun(*from_json(content))

    def started(self, overhead: float, wall: float) -> None:
        self._send_json(Kind.STARTED, [overhead, wall])

    def evaluating(self, flag: int) -> None:
        if self._presence is not None:
            self._presence.flags[self.worker] = flag

    def finish(self, overhead: float | None, wall: float, result: Result) -> Released | Over:
        try:
            self._channel.send_whole(protocol.result_frame(overhead, wall, result))
        except OSError:
            raise self._coordinator_lost() from None
        self.evaluating(0)  # if this caller dies from now on, its result has been sent
        try:
            read = self._channel.read()
        except (EOFError, OSError):
            raise self._coordinator_lost() from None
        released = protocol.one_release(read)
        if released is not None:
            return Released(*released)
        self._channel.put_back(read)
        kind, content = self._receive()
        return Released(*protocol.unpack_released(content)) if kind == Kind.RELEASED else Over()

    def _send_json(self, kind: Kind, value: Any) -> None:
        try:
            self._channel.send_json(kind, value)
        except OSError:
            raise self._coordinator_lost() from None

    def _receive(self) -> tuple[int, bytes]:
        try:
            kind, content = self._channel.receive()
        except (EOFError, OSError):
            raise self._coordinator_lost() from None
        if kind != Kind.RELEASED:
            self._check(kind, content)
        return kind, content

    def _check(self, kind: int, content: bytes) -> None:
        if kind in (Kind.REFUSED, Kind.WRONG, Kind.LOST):
            said = from_json(content)
            error = getattr(evalpool.errors, said["error"], SimulationError)(said["text"])
            self._lost = _told_next(error)
            raise error

    def _coordinator_lost(self) -> SimulationError:
        self._lost = MemberLost(
            f"The coordinator of the run in {self._directory} has ended: its process ended or was killed. The "
            "completed evaluations are in the run's log."
        )
        return self._lost

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self.pid == os.getpid():
            with contextlib.suppress(OSError):  # the coordinator has ended before
                self._channel.send(Kind.LEAVE)
        self._channel.close()
        if self._presence is not None:
            self._presence.close()
