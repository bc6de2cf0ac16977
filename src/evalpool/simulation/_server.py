"""Serves a coordinator to callers in other processes: one thread, and one socket for each caller.

An evaluation costs one frame in and one frame out. A caller that is killed is noticed at once, because its socket
closes. While all callers but one wait, that one's socket is read directly, for a few milliseconds at a time: a selector
between two evaluations took 2 of 34 microseconds. If there are CPUs besides those of the callers, the thread polls
for some microseconds instead, before it sleeps. Else polling would take the CPU from the caller whose frame is
awaited: with 4 callers on 2 CPUs an evaluation took half as long again.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import select
import socket
from collections.abc import Callable
from typing import Any

from evalpool._clock import monotonic, perf_counter
from evalpool._descriptors import can_read
from evalpool._files import new_file
from evalpool._json import from_json
from evalpool._net._listener import Handshakes
from evalpool.batch._cpus import usable_cpus
from evalpool.errors import BadArgument, EvalpoolError, SimulationError
from evalpool.simulation import _protocol as protocol
from evalpool.simulation._caller import Caller, Reply
from evalpool.simulation._coordinator import Coordinator
from evalpool.simulation._protocol import CallerChannel, Kind
from evalpool.simulation._run import Begun, Joined, Over, Released
from evalpool.simulation._waiting import shortest_wait

__all__ = ["CoordinatorServer", "Presence"]

LAZY = 1e-3
"""If check_interval_time is above this, the user prefers low load to speed, and there is no polling."""
FLAGS = "callers"
RARELY = 1.0
"""From this number of seconds on, the loop may look for deadlines by itself without being a load."""
LEAVE = int(Kind.LEAVE)  # to compare two numbers takes a fifth of the time
READ_FOR = 2e-3
"""Seconds for which callers are read directly, before the loop looks for anything else that has come."""


class Presence:
    """Two bytes per worker in shared memory, for flags that would otherwise cost a frame or system call per evaluation.

    The caller sets the first while its objective runs, so that the coordinator knows it if the caller is killed. The
    coordinator sets the second when it has sent a notice to the socket.
    """

    def __init__(self, directory: str, workers: int, *, new: bool = False) -> None:
        path = os.path.join(directory, FLAGS)
        if new:
            with os.fdopen(new_file(path), "wb") as file:
                file.write(bytes(2 * workers))
        self._workers = workers
        with open(path, "r+b") as file:
            self.flags = mmap.mmap(file.fileno(), 2 * workers)

    def noticed(self, worker: int) -> int:
        """Return the position of the worker's second byte."""
        return self._workers + worker

    def close(self) -> None:
        self.flags.close()

    @staticmethod
    def remove(directory: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, FLAGS))


class _CallerSocket:
    """One caller's socket."""

    __slots__ = ("_presence", "_released", "_send", "caller", "channel")

    def __init__(self, channel: CallerChannel, presence: Presence, released: Callable[[_CallerSocket], None]) -> None:
        self._presence = presence
        self._released = released
        self._send = channel.socket.sendall
        self.channel = channel
        self.caller: Caller | None = None

    def join(self, content: bytes, coordinator: Coordinator) -> None:
        who = from_json(content)
        coordinator.settings.agree(who["settings"])
        self.caller = Caller(who["name"], self.deliver)
        coordinator.join(self.caller, who["worker"])

    def deliver(self, reply: Reply) -> None:
        """Send a reply; under the coordinator's lock. If the caller has died, reading its socket will show that."""
        try:
            if isinstance(reply, Released):
                self._send(protocol.released_frame(*reply))
                self._released(self)
            elif isinstance(reply, Begun):
                self.channel.send_json(Kind.BEGUN, reply)
            elif isinstance(reply, Joined):
                self._presence.flags[self._presence.noticed(reply.worker)] = 0
                self.channel.send(Kind.JOINED, protocol.pack_joined(*reply))
            else:
                if isinstance(reply, Over):
                    self.channel.send(Kind.OVER)
                else:
                    self.refuse(Kind.LOST, reply)
                if self.caller is not None and self.caller.worker >= 0:
                    self._presence.flags[self._presence.noticed(self.caller.worker)] = 1
        except OSError:
            return

    def refuse(self, kind: Kind, error: BaseException) -> None:
        with contextlib.suppress(OSError):
            self.channel.send_json(kind, {"error": type(error).__name__, "text": str(error)})


class CoordinatorServer:
    """Serves a coordinator to callers that know the key.

    Args:
        coordinator: answers the callers.
        listener: accepts their connections; closed with the server.
        key: callers must prove that they know it.
        presence: the flags that are shared with the callers.
    """

    def __init__(self, coordinator: Coordinator, listener: socket.socket, key: bytes, presence: Presence) -> None:
        self._coordinator = coordinator
        self._presence = presence
        self._connections: dict[int, _CallerSocket] = {}
        self._poller = _Poller()
        self._handshakes = Handshakes([listener], key, self._poller.add, self._poller.remove)
        self._alarm, self._alarmed = socket.socketpair()
        self._alarmed.setblocking(False)
        self._poller.add(self._alarm)
        interval = coordinator.settings.check_interval_time
        self._look_again = interval if interval <= LAZY else 0.0
        self._cpus = usable_cpus()
        self._can_wait = hasattr(select, "epoll")  # then sockets know SO_RCVTIMEO as it is used here
        self._reads_directly = self._can_wait and shortest_wait(coordinator.settings) >= RARELY
        self._latest: _CallerSocket | None = None  # whose call was released last
        self._busy = False
        self._stopping = False

    def wake(self) -> None:
        """Make the loop look at the deadline again. From any thread."""
        with contextlib.suppress(OSError):  # if the socket is full, the loop is awake; if it is closed, it has ended
            self._alarmed.send(b"!")

    def stop(self) -> None:
        """End `run`. From any thread."""
        self._stopping = True
        self.wake()

    @property
    def num_connections(self) -> int:
        """How many callers are connected and have proven that they know the key."""
        return len(self._connections)

    def run(self, may_end: Callable[[bool], bool] = lambda idle: False, *, within: float = math.inf) -> None:
        """Serve until `stop`, or until `may_end` returns True.

        ``may_end(all_gone)`` is called after each event and at least every `within` seconds; `all_gone` says whether
        there were callers and all have left.
        """
        coordinator = self._coordinator
        served = False
        shortest = shortest_wait(coordinator.settings)
        rarely = shortest >= RARELY
        look_at = 0.0  # nothing is due before, so the deadline need not be computed for every frame
        while not self._stopping:
            now = monotonic()
            if now >= look_at or not rarely:
                with coordinator.lock:
                    look_at = coordinator.deadline()
                if look_at <= now:
                    coordinator.tick()
                    look_at = now
                elif rarely and look_at > now + shortest:
                    look_at = now + shortest  # a call that comes later may have a deadline from then on
            due = min(look_at, self._handshakes.deadline())
            events = self._wait(max(0.0, min(within, due - now)))
            newcomers = []
            for handle in events:
                connection = self._connections.get(handle)
                if connection is not None:
                    self._serve(connection, monotonic() + READ_FOR)
                elif handle == self._alarm.fileno():
                    self._alarm.recv(4096)
                    look_at = 0.0
                else:
                    newcomers.append(handle)
            for handle in newcomers:  # last, so that callers that left before these came are removed first
                peer = self._handshakes.ready(handle)
                if peer is not None:
                    self._welcome(peer.socket)
                    served = True
            self._handshakes.expire()
            if may_end(served and not self._connections):
                return

    def close(self) -> None:
        """Close all sockets, which callers that are still connected will notice."""
        for connection in self._connections.values():
            connection.channel.close()
        self._connections.clear()
        self._poller.close()
        self._handshakes.close()
        for end in (self._alarm, self._alarmed):
            end.close()

    def abandon(self) -> None:
        """In a forked child: close the copies of the parent's sockets, so that its end is noticed."""
        self._connections, connections = {}, self._connections
        for connection in connections.values():
            connection.channel.close()
        for end in (self._alarm, self._alarmed):
            end.close()
        self._handshakes.abandon()
        self._poller.close()

    def pending(self) -> bool:
        """Whether a program is connecting."""
        return self._handshakes.pending()

    def _welcome(self, connected: socket.socket) -> None:
        channel = CallerChannel(connected)
        if self._can_wait:
            channel.wait_at_most(READ_FOR)
        self._connections[connected.fileno()] = _CallerSocket(channel, self._presence, self._note)
        self._poller.add(connected)

    def _note(self, connection: _CallerSocket) -> None:
        self._latest = connection

    def _polls(self) -> bool:
        return self._look_again > 0.0 and len(self._connections) < self._cpus

    def _wait(self, timeout: float) -> list[int]:
        if not self._polls():
            return self._poller.wait(timeout)
        if self._busy:
            end = perf_counter() + self._look_again
            while True:
                events = self._poller.wait(0.0)
                if events:
                    return events
                if perf_counter() > end:
                    break
        began = perf_counter()
        events = self._poller.wait(timeout)
        self._busy = perf_counter() - began < 2 * self._look_again
        return events

    def _serve(self, connection: _CallerSocket, until: float) -> None:
        """Answer a caller; then, until that time, each one whom all others wait for."""
        directly = self._reads_directly and not self._polls()
        following: _CallerSocket | None = connection
        while following is not None:
            following = self._read(following)
            if not directly or monotonic() > until:
                return

    def _read(self, connection: _CallerSocket) -> _CallerSocket | None:
        """Read from a caller and answer it; return the one whom all wait for then, if that is known."""
        channel, caller = connection.channel, connection.caller
        try:
            read = channel.read()
        except BlockingIOError:
            return None  # it has other things to do
        except (EOFError, OSError):
            self._drop(connection, clean=False)
            return None
        result = protocol.one_result(read) if caller is not None else None
        if result is not None and caller is not None:
            self._latest = None
            alone = self._answered(connection, self._coordinator.finish, caller, *result)
            return self._latest if alone else None
        for kind, content in channel.frames(read):
            if kind == LEAVE:
                self._drop(connection, clean=True)
                return None
            self._answered(connection, self._answer, connection, kind, content)
            if channel.fileno() < 0:
                return None  # dropped
        return None

    def _answered(self, connection: _CallerSocket, answer: Callable[..., bool | None], *content: Any) -> bool | None:
        """Return what `answer` returns. Its errors go to the caller."""
        try:
            return answer(*content)
        except BadArgument as error:
            connection.refuse(Kind.WRONG, error)
        except EvalpoolError as error:
            refused = connection.caller is None or connection.caller.worker < 0
            connection.refuse(Kind.REFUSED if refused else Kind.LOST, error)
        except (ValueError, KeyError, TypeError):  # not a valid frame
            self._drop(connection, clean=False)
        return None

    def _answer(self, connection: _CallerSocket, kind: int, content: bytes) -> None:
        caller = connection.caller
        if kind == Kind.RESULT and caller is not None:
            self._coordinator.finish(caller, *protocol.unpack_result(content))
        elif kind == Kind.JOIN and caller is None:
            connection.join(content, self._coordinator)
        elif caller is None:
            raise SimulationError("The caller has not joined this run.")
        elif kind == Kind.STARTED:
            self._coordinator.started(caller, *from_json(content))
        elif kind == Kind.CALL:
            overhead, wall, fields = from_json(content)
            self._coordinator.call(caller, overhead, wall, fields)
        else:
            raise ValueError(kind)

    def _drop(self, connection: _CallerSocket, *, clean: bool) -> None:
        handle = connection.channel.fileno()
        self._poller.remove(connection.channel.socket)
        del self._connections[handle]
        connection.channel.close()
        caller = connection.caller
        if caller is not None and caller.worker >= 0:
            evaluating = bool(self._presence.flags[caller.worker])
            self._presence.flags[caller.worker] = 0
            self._coordinator.leave(caller, clean=clean, evaluating=evaluating)


class _Poller:
    """Waits with `select.epoll` where that exists: its cost does not depend on the number of sockets."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}
        self._poll: Any = None
        if hasattr(select, "epoll"):
            self._poll, self._unit = select.epoll(), 1.0
        elif hasattr(select, "poll"):
            self._poll, self._unit = select.poll(), 1000.0

    def add(self, connected: socket.socket) -> None:
        self._sockets[connected.fileno()] = connected
        if self._poll is not None:
            self._poll.register(connected.fileno(), 1)  # EPOLLIN and POLLIN

    def remove(self, connected: socket.socket) -> None:
        del self._sockets[connected.fileno()]
        if self._poll is not None:
            self._poll.unregister(connected.fileno())

    def wait(self, timeout: float) -> list[int]:
        """Return the descriptors that can be read; wait for one at most `timeout` seconds."""
        if timeout > 3600.0:
            timeout = 3600.0  # infinity cannot be converted to milliseconds
        if self._poll is None:
            return can_read(*self._sockets.values(), timeout=timeout)
        return [handle for handle, _ in self._poll.poll(timeout * self._unit)]

    def close(self) -> None:
        if hasattr(self._poll, "close"):
            self._poll.close()
