"""The coordinator of a run in the process that made its wrapper: threads enter directly, child processes by a socket.

The socket is opened when a child may need it: when the wrapper is pickled, and when this process forks. A run that only
threads call has neither a socket nor a separate thread.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
import weakref
from functools import partial
from typing import Any

from evalpool._clock import monotonic
from evalpool._fork import Order, at_fork
from evalpool._guard import guarded_act
from evalpool._json import from_json, to_json
from evalpool._log import get_logger
from evalpool._net._connect import connect
from evalpool._net._listener import new_key
from evalpool._net._proof import ProofFailed
from evalpool._net._sockets import listen_locally
from evalpool.errors import SimulationError
from evalpool.jobs._seeds import fresh_seed
from evalpool.simulation._batches import BatchCoordinator
from evalpool.simulation._coordinator import Coordinator
from evalpool.simulation._files import write_atomically
from evalpool.simulation._protocol import CallerChannel
from evalpool.simulation._run import RunSettings
from evalpool.simulation._server import CoordinatorServer, Presence
from evalpool.simulation._session import SocketSession

__all__ = ["CONTACT", "Contact", "Host", "new_coordinator", "open_session", "session_if_heard"]

logger = get_logger()

CONTACT = "coordinator.json"


def new_coordinator(
    settings: RunSettings, directory: str, seed: int | None, state: dict[str, Any] | None = None
) -> Coordinator:
    kind = Coordinator if settings.batch_size is None else BatchCoordinator
    return kind(settings, directory, fresh_seed() if seed is None else seed, state=state)


class Contact:
    """The address of a coordinator, and the key, in a file that only this user can read."""

    def __init__(self, address: Any, key: bytes) -> None:
        self.address = address
        self.key = key

    def write(self, directory: str) -> None:
        text = to_json({"address": self.address, "key": self.key.hex(), "pid": os.getpid()})
        write_atomically(os.path.join(directory, CONTACT), text.encode(), 0o600)

    @classmethod
    def read(cls, directory: str) -> Contact | None:
        try:
            with open(os.path.join(directory, CONTACT), "rb") as file:
                value = from_json(file.read())
        except FileNotFoundError:
            return None
        return cls(value["address"], bytes.fromhex(value["key"]))

    def remove(self, directory: str) -> None:
        """Remove the file, unless the directory is that of another run by now."""
        found = self.read(directory)
        if found is not None and found.key == self.key:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, CONTACT))
            Presence.remove(directory)


def open_session(directory: str, contact: Contact, settings: RunSettings, worker: int | None) -> SocketSession:
    """Connect to a coordinator. Raises `OSError` if it does not listen any more, and what `SocketSession` raises."""
    try:
        channel = CallerChannel(connect(contact.address, contact.key, packets=True))
    except ProofFailed as error:
        raise SimulationError(
            f"The program that listens at the address of the run in {directory} is not its coordinator: {error}."
        ) from error
    try:
        return SocketSession(directory, channel, settings, worker)
    except BaseException:
        channel.close()
        raise


def session_if_heard(
    directory: str, contact: Contact, settings: RunSettings, worker: int | None
) -> SocketSession | None:
    """As `open_session`; None if the coordinator does not listen any more."""
    try:
        return open_session(directory, contact, settings, worker)
    except SimulationError:
        raise  # some of these are subclasses of `OSError`, too
    except OSError:
        return None


class Host:
    """A coordinator in this process. The run ends with the last reference to it.

    Attributes:
        kept: the sessions of the callers in this process, by wrapper.
    """

    def __init__(self, settings: RunSettings, directory: str) -> None:
        self.id = uuid.uuid4().hex
        self.pid = os.getpid()
        self.kept: dict[str, Any] = {}
        self._service = _CoordinatorService(settings, directory)
        self.coordinator = self._service.coordinator
        self.serve = self._service.serve
        self.close = self._service.close
        weakref.finalize(self, self._service.close)


class _CoordinatorService:
    """The coordinator and, as soon as there are other processes, its server."""

    def __init__(self, settings: RunSettings, directory: str) -> None:
        self.pid = os.getpid()
        self.directory = directory
        self.coordinator = new_coordinator(settings, directory, settings.seed)
        self.coordinator.began = monotonic()
        self._lock = threading.Lock()
        self._server: CoordinatorServer | None = None
        self._presence: Presence | None = None
        self._contact: Contact | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        _services.add(self)

    def open(self) -> None:
        """Let processes connect; they are answered once `serve` is called."""
        with self._lock:
            if self._server is None and not self._closed:
                listener, address = listen_locally(packets=True)
                key = new_key()
                self._presence = Presence(self.directory, self.coordinator.settings.num_callers, new=True)
                self._server = CoordinatorServer(self.coordinator, listener, key, self._presence)
                self.coordinator.on_change = self._server.wake
                self._contact = Contact(address, key)
                self._contact.write(self.directory)

    def serve(self) -> None:
        """Answer processes from now on, in a separate thread."""
        self.open()
        with self._lock:
            if self._thread is None and self._server is not None:
                assert self._presence is not None
                serve = partial(_serve, self._server, self._presence)
                thread = guarded_act("evalpool-coordinator", "The coordinator", serve)
                thread.start()
                self._thread = thread

    def close(self) -> None:
        """End the run for all callers. A second call does nothing, and neither does a call in a forked child."""
        if self.pid != os.getpid():
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.coordinator.close()
        if self._server is not None:
            self._server.stop()
            if self._thread is None:
                self._server.close()
            elif self._thread is not threading.current_thread():
                self._thread.join()
            if self._contact is not None:
                self._contact.remove(self.directory)

    def _abandon(self) -> None:
        if self._server is not None:
            self._server.abandon()


def _serve(server: CoordinatorServer, presence: Presence) -> None:
    try:
        server.run()
    except Exception:
        logger.exception("The coordinator of a simulated objective failed; its callers get an error.")
    finally:
        server.close()
        presence.close()


_services: weakref.WeakSet[_CoordinatorService] = weakref.WeakSet()


def _before_fork() -> None:
    for service in list(_services):
        if service.pid == os.getpid() and not service.coordinator.over:
            try:
                service.open()
            except (OSError, SimulationError):
                logger.exception("No socket could be opened for a forked child; it cannot reach its coordinator.")


def _after_fork_here() -> None:
    for service in list(_services):
        if service.pid == os.getpid() and service._server is not None and not service._closed:
            service.serve()


def _after_fork_there() -> None:
    for service in list(_services):
        service._abandon()


at_fork(Order.SIMULATION, _after_fork_there, before=_before_fork, in_parent=_after_fork_here)
