"""The actors of one evaluator: started, listened to, killed and replaced.

Two things tell of an actor's end: its connection, at once, and the call that it serves, with the reason that Ray
gives. Whichever comes first, the reason is waited for, within bounds; then the job that ran is to blame.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import select
import socket
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil

from evalpool.backends._ahead import encode
from evalpool.backends._process import _wire
from evalpool.backends._ray._actor import versions, worker_class
from evalpool.backends._ray._door import Door, host_identity
from evalpool.backends._ray._resources import Needs
from evalpool.backends._ray._store import LARGE, Shelf, Stored
from evalpool.backends._sockets import OverSockets, Peer
from evalpool.evaluator._job import Job
from evalpool.outcomes import Worker

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator

__all__ = ["Actors"]

logger = logging.getLogger("evalpool")

FAILED_STARTS = 3
"""Actors in a row that end before they are ready: then starting more is pointless."""
REASON_WITHIN = 3.0
"""Seconds between the end of a connection and Ray's reason for it; it takes milliseconds on one host."""
TAIL = 4_000
"""Bytes of a worker's standard error in the message about its death."""
END_WITHIN = 2.0
"""Seconds that killed actors may take to end."""
LOOK_EVERY = 2.0
"""Seconds between two looks at the cluster's nodes, one question to its head (0.8 ms) each, where their number counts.
Ray has no public way to be told."""


class Actor(Peer):
    """A worker's seat with its actor."""

    __slots__ = ("data_socket", "ending", "handle", "joined", "log", "ticket", "why")

    def __init__(self, index: int, ticket: int, handle: Any) -> None:
        super().__init__(index, Worker(f"ray-{index}", "", 0))
        self.ticket = ticket
        self.handle = handle
        self.data_socket: socket.socket | None = None  # until the other one has come as well
        self.joined = False  # it has both sockets
        self.ending = False
        self.why = ""  # Ray's reason for its end
        self.log = ""  # the file of its standard error, if it is on this host


class Actors(OverSockets):
    """The supervisor of actors.

    Args:
        owner: the evaluator.
        ray: the module.
        setup: what each worker needs, in the object store.
        needs: the resources of each.
        host: where they reach us.
        runtime_env: of theirs alone.
        follow: have as many as the cluster's nodes hold, whoever joins and leaves.
    """

    def __init__(
        self, owner: Evaluator, ray: Any, setup: Any, needs: Needs, host: str, runtime_env: Any, follow: bool
    ) -> None:
        super().__init__(owner, "evalpool-ray-io")
        self._ray, self._setup, self._needs = ray, setup, needs
        self._shelf = Shelf(ray)
        self._failed_starts = 0
        self._tickets = itertools.count()
        self._where = host_identity()
        options = {**needs.options(), "max_restarts": 0, "max_task_retries": 0}
        if runtime_env:
            options["runtime_env"] = runtime_env
        self._class = ray.remote(worker_class()).options(**options)
        self._door = Door(host, lambda hello, sock: self._command(partial(self._on_guest, hello, sock)))
        if follow:
            owner._watchdog.after(LOOK_EVERY, self._look)
        self._begin()

    # Beginnings.

    def _start_worker(self, index: int) -> None:
        if self._stopping or self._hopeless or len(self._seats) >= self._count:
            return
        ticket = next(self._tickets)
        if not self._ray.is_initialized():  # it would start another one
            self._give_up("Ray was shut down.")
            return
        try:
            handle = self._class.remote(versions(), list(sys.path))
            serving = handle.serve.remote(self._setup, self._door.address, self._door.key, ticket)
        except Exception as error:  # noqa: BLE001  Ray was shut down, or lost its head
            self._give_up(f"{type(error).__name__}: {error}")
            return
        peer = Actor(index, ticket, handle)
        with self._lock:
            self._seats[index] = peer
        self._heed(peer, serving)

    def _heed(self, peer: Actor, call: Any) -> None:
        """Hear of a call's end; from Ray's own thread, without asking."""
        call.future().add_done_callback(lambda future: self._command(partial(self._on_call, peer, future)))

    def _on_guest(self, hello: dict[str, Any], sock: socket.socket) -> None:
        peer = next((peer for peer in self._seats.values() if peer.ticket == hello["ticket"]), None)
        if peer is None or peer.ending or self._stopping:
            sock.close()
        elif hello["role"] == "data":
            peer.data_socket = sock
        elif peer.data_socket is not None:
            peer.worker = Worker(peer.worker.name, hello["host"], hello["pid"])
            peer.elsewhere = hello["where"] != self._where
            peer.log = "" if peer.elsewhere else hello["log"]
            peer.connect(peer.data_socket, sock)
            peer.joined = True
            self._watch(peer)

    def _on_other(self, peer: Actor, kind: int, payload: memoryview) -> None:
        self._failed_starts = 0
        self._started_up(peer)

    # Jobs.

    def _encode(self, job: Job[Any]) -> Any:
        message = encode(job)
        if type(message) is tuple or sum(len(piece) for piece in message[1:]) < LARGE:
            return message
        payload, buffers = _wire.dump((job.args, job._extra or None))
        stored = Stored(_wire.frame(_wire.STORED_JOB, _wire.JOB.pack(job.number, job.attempts) + payload))
        stored.refs = [self._shelf.put(buffer) for buffer in buffers]
        return stored

    def _send(self, peer: Actor, pieces: Any) -> None:
        if type(pieces) is Stored:
            # Queued behind the call that serves; it returns when it comes to this job, and is called again.
            self._heed(peer, peer.handle.take.remote(*pieces.refs))
            self._heed(peer, peer.handle.go_on.remote())
        super()._send(peer, pieces)

    # Ends.

    def _kill(self, peer: Actor) -> None:
        if self._seats.get(peer.index) is peer:
            children = _descendants(peer)
            self._ray_kill(peer)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()

    def _ray_kill(self, peer: Actor) -> None:
        """At once, whatever it does; the node's own daemon sees to most of its children."""
        if not self._ray.is_initialized():  # its workers have ended with it; this call would start another one
            return
        try:
            self._ray.kill(peer.handle, no_restart=True)
        except Exception as error:  # noqa: BLE001  Ray was shut down, or lost its head
            logger.debug("Ray could not kill the actor of worker %d: %s", peer.index, error)

    def _on_end(self, peer: Actor, mask: int) -> None:
        """Its connection has ended."""
        if peer.ending:
            return
        peer.ending = True
        self._unwatch(peer.data, peer.control)
        self._hold_back(peer)
        if peer.why:
            self._bury(peer)
        else:
            self._owner._watchdog.after(REASON_WITHIN, self._command, partial(self._bury, peer))

    def _on_call(self, peer: Actor, future: Any) -> None:
        """A call of it has ended: returned, which is nothing new, or failed, which is its end."""
        error = future.exception()
        if error is None or self._seats.get(peer.index) is not peer:
            return
        if not peer.why:
            peer.why = _reason(error)
        if peer.joined and not peer.ending:
            self._drain(peer)
        self._bury(peer)

    def _bury(self, peer: Actor) -> None:
        if self._seats.get(peer.index) is not peer:
            return
        self._ray_kill(peer)  # it may have closed its connection only
        self._disconnect(peer)
        where = f" {peer.worker.pid} on {peer.worker.host}" if peer.worker.pid else f" {peer.worker.name}"
        text = f"The Ray worker{where} ended. {peer.why or 'Ray gives no reason.'}{_last_words(peer.log)}"
        self._let_go(peer, text)
        if not peer.ready:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                self._give_up(f"{FAILED_STARTS} in a row ended before they were ready. {text}")
                return
        self._start_worker(peer.index)

    def _give_up(self, text: str) -> None:
        """Workers cannot be started: say so once, and fail jobs instead of letting them wait for ever."""
        if self._hopeless:
            return
        self._hopeless = f"No Ray worker can be started: {text}"
        logger.error(self._hopeless)
        self._slots += self._count  # the jobs come here to be reported

    def _disconnect(self, peer: Actor) -> None:
        if peer.joined:
            self._unwatch(peer.data, peer.control)
            peer.data.close()
            peer.control.close()
        elif peer.data_socket is not None:
            peer.data_socket.close()

    def _begin_to_stop(self, now: bool) -> None:
        self._stopping = True

    def _end_workers(self) -> None:
        self._door.close()
        peers = list(self._seats.values())
        for peer in peers:
            self._kill(peer)
        deadline = time.monotonic() + END_WITHIN
        alive = {peer.data.fileno(): peer for peer in peers if peer.joined and not peer.ending}
        while alive and (rest := deadline - time.monotonic()) > 0:
            for fd in select.select(list(alive), [], [], rest)[0]:
                if _at_end(alive[fd].data):
                    del alive[fd]
        while self._commands:  # guests that came too late close their sockets
            self._commands.popleft()()
        for peer in peers:
            self._disconnect(peer)
        with self._lock:
            self._seats.clear()
            self._hungry.clear()
            self._idle.clear()

    # The cluster's nodes.

    def _look(self) -> None:
        """In the watchdog's thread: how many workers does the cluster hold now?"""
        if self._stopping or not self._ray.is_initialized():
            return
        try:
            count = self._needs.capacity(self._ray.nodes())
        except Exception as error:  # noqa: BLE001  Ray's head is away for a moment, or for ever: its workers tell
            logger.warning("The nodes of the Ray cluster cannot be seen: %s", error)
        else:
            if count != self._count:
                self._command(partial(self._resize, count))
        self._owner._watchdog.after(LOOK_EVERY, self._look)

    def _resize(self, count: int) -> None:
        """Nodes have joined or left. Workers on those that left end by themselves."""
        logger.info("The Ray cluster holds %d workers now, %d before.", count, self._count)
        self._count = count
        self._owner._num_workers = max(1, count)
        for peer in list(self._seats.values()):
            if len(self._seats) > count and not peer.joined:  # it waits for a place that is gone
                self._ray_kill(peer)
                self._disconnect(peer)
                self._let_go(peer, "")
        for index in range(count):
            if index not in self._seats:
                self._start_worker(index)

    def close_in_fork(self) -> None:
        self._door.close_in_fork()
        for peer in self._seats.values():
            if peer.joined:
                peer.data.close()
                peer.control.close()


def _descendants(peer: Actor) -> list[psutil.Process]:
    """The processes that a busy worker of this host started, also those in sessions of their own."""
    if not peer.joined or peer.elsewhere or peer.ending or not peer.in_flight:
        return []
    try:
        return list(psutil.Process(peer.worker.pid).children(recursive=True))
    except psutil.Error:
        return []


def _at_end(sock: socket.socket) -> bool:
    """Has the other side gone? What it said last is dropped: its job is settled."""
    with contextlib.suppress(BlockingIOError):
        try:
            return not sock.recv(1 << 16)
        except OSError:
            return True
    return False


def _last_words(path: str) -> str:
    """The end of a worker's standard error, where a crash says where it happened."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            tail = file.read(TAIL).decode(errors="replace").strip()
    except OSError:
        return ""
    return f"\nThe end of its standard error:\n{tail}" if tail else ""


def _reason(error: BaseException) -> str:
    """Ray's message, without the lines that say nothing to a user."""
    lines = [line.strip() for line in str(error).splitlines()]
    dull = ("class_name:", "actor_id:", "namespace:", "pid:", "ip:")
    return "\n".join(line for line in lines if line and not line.startswith(dull))
