"""The actors of one evaluator: started, listened to, killed and replaced.

Two things tell of an actor's end: its connection, at once, and the call that it serves, with the reason that Ray
gives. Whichever comes first, the reason is waited for, within bounds; then the job that ran is to blame.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil

from evalpool._clock import monotonic
from evalpool._descriptors import can_read
from evalpool._log import get_logger
from evalpool.backends._pool import _lend, _wire
from evalpool.backends._pool._ahead import Pickled
from evalpool.backends._pool._ends import tell_of_cut
from evalpool.backends._pool._sockets import OverSockets, Peer
from evalpool.backends._pool._stderr import REPORT, ErrorTail
from evalpool.backends._ray import _holders, _ring
from evalpool.backends._ray._actor import versions
from evalpool.backends._ray._reach import host_identity, listen_to_workers
from evalpool.backends._ray._resources import Needs
from evalpool.backends._ray._store import Shelf
from evalpool.outcomes import Worker
from evalpool.worker._path import understood_path

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator

__all__ = ["Actors"]

logger = get_logger()

FAILED_STARTS = 3
"""Actors in a row that end before they are ready: then starting more is pointless."""
REASON_WITHIN = 3.0
"""Seconds between the end of a connection and Ray's reason for it; it takes milliseconds on one host."""
END_WITHIN = 2.0
"""Seconds that killed actors may take to end."""
LOOK_EVERY = 2.0
"""Seconds between two looks at the cluster's nodes, one question to its head (0.8 ms) each, where their number counts.
Ray has no public way to be told."""


class Actor(Peer):
    """A worker's seat with its actor."""

    __slots__ = ("came", "ending", "handle", "joined", "lender", "log", "rings", "ticket", "why")

    def __init__(self, index: int, ticket: int, handle: Any) -> None:
        super().__init__(index, Worker(f"ray-{index}", "", 0))
        self.ticket = ticket
        self.handle = handle
        self.came: dict[str, socket.socket] = {}  # by role, until all have come
        self.lender: socket.socket | None = None  # passes descriptors of large frames, on this host
        self.rings: tuple[_ring.Ring, _ring.Ring] | None = None  # to it and from it, on this host
        self.joined = False  # it has its sockets
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
        actor_class: theirs, with its options.
        follow: have as many as the cluster's nodes hold, whoever joins and leaves.
        exit_timeout: seconds that workers may take to end at the close.
    """

    def __init__(
        self,
        owner: Evaluator,
        ray: Any,
        setup: Any,
        needs: Needs,
        host: str,
        actor_class: Any,
        follow: bool,
        exit_timeout: float,
    ) -> None:
        super().__init__(owner, "evalpool-ray-io")
        self._exit_timeout = exit_timeout
        self._ray, self._setup, self._needs = ray, setup, needs
        self._shelf = Shelf(ray)
        self._failed_starts = 0
        self._tickets = itertools.count()
        self._where = host_identity()
        self._class = actor_class
        self._listener, self._reach = listen_to_workers(
            host, lambda peer: self._command(partial(self._on_connection, peer.hello, peer.socket))
        )
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
            handle = self._class.remote(versions(), understood_path())
            serving = handle.serve.remote(self._setup, self._reach, ticket)
        except Exception as error:  # noqa: BLE001  Ray was shut down, or lost its head
            self._give_up(f"{type(error).__name__}: {error}")
            return
        peer = Actor(index, ticket, handle)
        with self._lock:
            self._seats[index] = peer
        self._heed(peer, serving)

    def _describe_shortage(self) -> str:
        if not self._ray.is_initialized():
            return "Ray was shut down."
        ours = []
        for pool in self._shortage.others():
            pids = {peer.worker.pid for peer in list(pool._seats.values()) if peer.joined}
            name = f"{type(pool._owner).__name__} of search {pool._owner._search_id} in this program"
            if pids:
                ours.append((name, len(pids), pids, pool._needs))
        return _holders.describe(self._ray, self._needs, ours)

    def _heed(self, peer: Actor, call: Any) -> None:
        """Hear of a call's end; from Ray's own thread, without asking."""
        call.future().add_done_callback(lambda future: self._command(partial(self._on_call, peer, future)))

    def _on_connection(self, hello: dict[str, Any], sock: socket.socket) -> None:
        peer = next((peer for peer in self._seats.values() if peer.ticket == hello["ticket"]), None)
        if peer is None or peer.ending or peer.joined or self._stopping:
            sock.close()
            return
        came = peer.came
        came[hello["role"]] = sock
        if hello["role"] == "lender":
            with contextlib.suppress(OSError):  # it is gone, which is noticed otherwise
                peer.rings = _ring.offer(sock)  # it waits for this
        if not {"data", "control"} <= came.keys() or (hello.get("lends") and "lender" not in came):
            return
        peer.worker = Worker(peer.worker.name, hello["host"], hello["pid"])
        peer.elsewhere = hello["where"] != self._where
        peer.log = "" if peer.elsewhere else hello["log"]
        peer.lender = came.get("lender")
        if peer.lender is not None:
            peer.lender.setblocking(False)
        peer.connect(came["data"], came["control"])
        peer.joined = True
        self._watch(peer)

    def _on_other(self, peer: Actor, kind: int, payload: memoryview) -> None:
        self._failed_starts = 0
        self._started_up(peer)

    # Jobs.

    def _framed(self, kind: int, job: tuple[int, int], payload: bytes, buffers: list[memoryview]) -> Any:
        if not _lend.worth_it(payload, buffers):
            return _wire.frame(kind, payload, buffers)
        return Pickled(kind, job, payload, buffers)

    def _borrow(self, seat: Actor, head: memoryview) -> _wire.Frame:
        if seat.rings is not None and _ring.is_in_ring(head):
            return seat.rings[1].take(head)
        assert seat.lender is not None
        return _lend.borrow(seat.lender, head)

    def _send(self, peer: Actor, pieces: Any) -> None:
        super()._send(peer, self._convey(peer, pieces) if type(pieces) is Pickled else pieces)

    def _convey(self, peer: Actor, large: Pickled) -> list[Any]:
        """Let a large job reach a worker by the shortest way; what is to be sent for it."""
        if peer.rings is not None and peer.lender is not None:
            frame = peer.rings[0].put(*large)
            if frame is not None:
                return frame
            lent = _lend.lend(*large)
            if lent is not None and _lend.pass_on(peer.lender, lent):
                return lent.frame
        # Queued behind the call that serves; it returns when it comes to this job, and is called again.
        self._heed(peer, peer.handle.take.remote(*map(self._shelf.put, large.buffers)))
        self._heed(peer, peer.handle.go_on.remote())
        return _wire.frame(_wire.STORED_JOB, large.payload)

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
        try:
            self._let_go(peer, text)
        finally:
            self._replace(peer, text)

    def _discard(self, peer: Actor, text: str) -> None:
        peer.why = text
        self._bury(peer)

    def _replace(self, peer: Actor, text: str) -> None:
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
        for sock in peer.came.values():
            sock.close()

    def _begin_to_stop(self, now: bool) -> None:
        self._stopping = True
        for peer in list(self._seats.values()):
            if peer.ready and not peer.in_flight and not peer.ending:
                with contextlib.suppress(OSError):  # it has just ended
                    peer.data.shutdown(socket.SHUT_WR)
            else:
                self._kill(peer)

    def _end_workers(self) -> None:
        self._listener.close()
        peers = list(self._seats.values())
        idle = [peer for peer in peers if peer.ready and not peer.in_flight and not peer.ending]
        for peer in _wait_for_ends(idle, self._exit_timeout):
            tell_of_cut(f"Worker {peer.index} (process {peer.worker.pid} on {peer.worker.host})", self._exit_timeout)
        for peer in peers:
            self._kill(peer)
        _wait_for_ends([peer for peer in peers if peer.joined and not peer.ending], END_WITHIN)
        with self._lock:
            self._seats.clear()
            self._hungry.clear()
            self._idle.clear()
        # Of workers that have no place any more: their ends are no news, and those that came too late are let go.
        while self._commands:
            self._commands.popleft()()
        for peer in peers:
            self._disconnect(peer)

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
        for peer in self._seats.values():
            for sock in peer.came.values():
                sock.close()


def _descendants(peer: Actor) -> list[psutil.Process]:
    """The processes that a busy worker of this host started, also those in sessions of their own."""
    if not peer.joined or peer.elsewhere or peer.ending or not peer.in_flight:
        return []
    try:
        return list(psutil.Process(peer.worker.pid).children(recursive=True))
    except psutil.Error:
        return []


def _wait_for_ends(peers: list[Actor], within: float) -> list[Actor]:
    """Wait until workers have ended, at most so many seconds; those that have not."""
    deadline = monotonic() + within
    alive = {peer.data.fileno(): peer for peer in peers}
    while alive and (rest := deadline - monotonic()) > 0:
        for fd in can_read(*alive, timeout=rest):
            if _at_end(alive[fd].data):
                del alive[fd]
    return list(alive.values())


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
            file.seek(max(0, os.fstat(file.fileno()).st_size - REPORT))
            end = ErrorTail()
            end.feed(file.read(REPORT))
    except OSError:
        return ""
    tail = end.text()
    return f"\nThe end of its standard error:\n{tail}" if tail else ""


def _reason(error: BaseException) -> str:
    """Ray's message, without the lines that say nothing to a user."""
    lines = [line.strip() for line in str(error).splitlines()]
    dull = ("class_name:", "actor_id:", "namespace:", "pid:", "ip:")
    return "\n".join(line for line in lines if line and not line.startswith(dull))
