"""The launcher of Ray's actors: starts them, accepts their connections, kills them, and says why they ended.

Two events show that an actor has ended: its connection closes, at once; and its call fails, with Ray's reason. In both
cases we wait for the reason, for a limited time; then the running job is reported as the cause.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import psutil

from evalpool._log import get_logger
from evalpool.backends._pool._launcher import Launcher, NoMoreWorkers
from evalpool.backends._pool._pool import Pool
from evalpool.backends._pool._pool_worker import PoolWorker
from evalpool.backends._pool._sockets import Connection
from evalpool.backends._pool._stderr import REPORT, ErrorTail
from evalpool.backends._ray import _holders, _ring
from evalpool.backends._ray._actor import versions
from evalpool.backends._ray._reach import host_identity, listen_to_workers
from evalpool.backends._ray._resources import Needs
from evalpool.backends._ray._transport import Rings
from evalpool.outcomes import Worker
from evalpool.worker._path import understood_path

__all__ = ["ActorLauncher"]

logger = get_logger()

REASON_WITHIN = 3.0
"""Seconds to wait for Ray's reason after a connection has closed; on one host the reason comes within milliseconds."""
LOOK_EVERY = 2.0
"""Seconds between two looks at the cluster's nodes, if the number of workers follows them. Each look is one request to
the head node (0.8 ms). Ray has no public notification."""


class Actor:
    """The handle of a worker: what is known of its actor."""

    __slots__ = ("actor", "came", "heed", "log", "rings", "why")

    def __init__(self, actor: Any, heed: Callable[[Any], None]) -> None:
        self.actor = actor
        self.heed = heed
        self.came: dict[str, socket.socket] = {}  # its connections by role, until all have come
        self.rings: Rings | None = None  # only on this host
        self.why = ""  # Ray's reason for its end
        self.log = ""  # the file of its standard error, if that is on this host

    def call(self, method: str, *arguments: Any) -> None:
        """Queue a call of a method, and handle its end."""
        self.heed(getattr(self.actor, method).remote(*arguments))


class ActorLauncher(Launcher):
    """Starts actors.

    Args:
        ray: the module.
        setup: what each worker needs, in the object store.
        needs: the resources of each worker.
        host: the address at which workers reach us.
        actor_class: the class of the actors, with its options.
        follow: whether the number of workers follows nodes that join or leave.
        exit_timeout: seconds that workers may take to end at the close.
    """

    name: ClassVar[str] = "ray"
    what: ClassVar[str] = "Ray worker"
    workers_are: ClassVar[str] = "cluster"
    are_alike: ClassVar[bool] = True
    ends_aside: ClassVar[bool] = False  # Ray is asked, and waits for nothing
    end_timeout = 30.0  # on a node that does not answer any more
    start_timeout = None  # Ray starts a worker when there is room for it

    def __init__(
        self, ray: Any, setup: Any, needs: Needs, host: str, actor_class: Any, follow: bool, exit_timeout: float
    ) -> None:
        self.exit_timeout = exit_timeout
        self._ray, self._setup, self.needs = ray, setup, needs
        self._tickets = itertools.count()
        self._waiting: dict[int, PoolWorker] = {}  # workers that have not connected yet, by ticket
        self._where = host_identity()
        self._class, self._host, self._follow = actor_class, host, follow

    def open(self, pool: Pool) -> None:
        super().open(pool)
        self._pool = pool
        self._listener, self._reach = listen_to_workers(
            self._host, lambda peer: pool.command(partial(self._on_connection, peer.hello, peer.socket))
        )
        if self._follow:
            pool.port.after(LOOK_EVERY, self._look)

    # Beginnings.

    def start(self, worker: PoolWorker) -> Actor:
        if not self._ray.is_initialized():  # the calls below would start another Ray
            raise NoMoreWorkers("Ray was shut down.")
        ticket = next(self._tickets)
        worker.facts = Worker(worker.facts.name, "", 0)  # host and pid are unknown until it connects
        try:
            actor = Actor(self._class.remote(versions(), understood_path()), partial(self._heed, worker))
            self._waiting[ticket] = worker
            actor.call("serve", self._setup, self._reach, ticket)
        except Exception as error:
            self._waiting.pop(ticket, None)
            raise NoMoreWorkers(
                f"{type(error).__name__}: {error}"
            ) from error  # Ray was shut down, or its head has died
        return actor

    def _heed(self, worker: PoolWorker, call: Any) -> None:
        """Have a call's end handled. Ray's own thread notifies us; there is no polling."""
        call.future().add_done_callback(lambda future: self._pool.command(partial(self._on_call, worker, future)))

    def _on_connection(self, hello: dict[str, Any], sock: socket.socket) -> None:
        worker = self._waiting.get(hello["ticket"])
        if worker is None or self._pool.workers.get(worker.index) is not worker or self._pool.stopping:
            sock.close()
            return
        actor = worker.handle
        came = actor.came
        came[hello["role"]] = sock
        if hello["role"] == "lender":
            with contextlib.suppress(OSError):  # the worker has died, which is noticed elsewhere
                rings = _ring.offer(sock)  # the worker waits for this
                actor.rings = None if rings is None else Rings(*rings)
        if not {"data", "control"} <= came.keys() or (hello.get("lends") and "lender" not in came):
            return
        del self._waiting[hello["ticket"]]
        worker.facts = Worker(worker.facts.name, hello["host"], hello["pid"])
        worker.elsewhere = hello["where"] != self._where
        actor.log = "" if worker.elsewhere else hello["log"]
        worker.link = Connection(came["data"], came["control"], came.get("lender"))
        self._pool.staff.connected(worker)

    # Ends.

    def kill(self, worker: PoolWorker) -> None:
        children = _descendants(worker)
        self._kill_actor(worker)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()

    def _kill_actor(self, worker: PoolWorker) -> None:
        """Kill the actor at once. The daemon of its node ends most of its children."""
        if not self._ray.is_initialized():  # its workers have ended; the call below would start another Ray
            return
        try:
            self._ray.kill(worker.handle.actor, no_restart=True)
        except Exception as error:  # noqa: BLE001  Ray was shut down, or its head node has died
            logger.debug("Ray could not kill the actor of worker %d: %s", worker.index, error)

    def conclude(self, worker: PoolWorker) -> str | None:
        if worker.handle.why:
            return self.describe_end(worker)
        replace = partial(self._replace, worker)
        self._pool.port.after(REASON_WITHIN, self._pool.command, replace)
        return None

    def _replace(self, worker: PoolWorker) -> None:
        self.has_ended(worker, self.describe_end(worker))

    def _on_call(self, worker: PoolWorker, future: Any) -> None:
        """Handle the end of a call: if it failed, the actor has ended."""
        error = future.exception()
        if error is None or self._pool.workers.get(worker.index) is not worker:
            return
        if not worker.handle.why:
            worker.handle.why = _reason(error)
        if not worker.ending:
            self._pool.transport.drain(worker)
        self._replace(worker)

    def describe_end(self, worker: PoolWorker) -> str:
        facts, actor = worker.facts, worker.handle
        where = f" {facts.pid} on {facts.host}" if facts.pid else f" {facts.name}"
        return f"The Ray worker{where} ended. {actor.why or 'Ray gives no reason.'}{_last_words(actor.log)}"

    def release(self, worker: PoolWorker) -> None:
        self._kill_actor(worker)  # perhaps it has only closed its connection
        for ticket in [ticket for ticket, each in self._waiting.items() if each is worker]:
            del self._waiting[ticket]
        if worker.link is None:
            for sock in worker.handle.came.values():
                sock.close()

    def describe_shortage(self) -> str:
        if not self._ray.is_initialized():
            return "Ray was shut down."
        ours = []
        for pool in self._pool.shortage.others():
            pids = {worker.facts.pid for worker in list(pool.workers.values()) if worker.link is not None}
            name = f"{pool.port.name} of search {pool.port.search_id} in this program"
            launcher = pool.launcher
            if pids and isinstance(launcher, ActorLauncher):
                ours.append((name, len(pids), pids, launcher.needs))
        return _holders.describe(self._ray, self.needs, ours)

    def close(self) -> None:
        self._listener.close()

    def close_in_fork(self) -> None:
        for worker in self._waiting.values():
            for sock in worker.handle.came.values():
                sock.close()

    # The cluster's nodes.

    def _look(self) -> None:
        """Find out how many workers the cluster has room for now; in the watchdog's thread."""
        pool = self._pool
        if pool.stopping or not self._ray.is_initialized():
            return
        try:
            count = self.needs.capacity(self._ray.nodes())
        except Exception as error:  # noqa: BLE001  Ray's head cannot be reached; if it has died, its workers end, too
            logger.warning("The nodes of the Ray cluster cannot be listed: %s", error)
        else:
            if count != pool.staff.count:
                pool.command(partial(self._resize, count))
        pool.port.after(LOOK_EVERY, self._look)

    def _resize(self, count: int) -> None:
        """Change the number of workers after nodes have joined or left."""
        logger.info("The Ray cluster has room for %d workers now; before it was %d.", count, self._pool.staff.count)
        self._pool.staff.resize(count)


def _descendants(worker: PoolWorker) -> list[psutil.Process]:
    """Return the processes that a busy worker of this host started, also those in other sessions."""
    if worker.link is None or worker.elsewhere or worker.ending or not worker.in_flight:
        return []
    try:
        return list(psutil.Process(worker.facts.pid).children(recursive=True))
    except psutil.Error:
        return []


def _last_words(path: str) -> str:
    """Return the end of a worker's standard error, where a crash shows where it happened."""
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
    """Return Ray's message, without the lines that do not help a user."""
    lines = [line.strip() for line in str(error).splitlines()]
    dull = ("class_name:", "actor_id:", "namespace:", "pid:", "ip:")
    return "\n".join(line for line in lines if line and not line.startswith(dull))
