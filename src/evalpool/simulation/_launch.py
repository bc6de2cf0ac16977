"""The coordinator of separately launched programs: a separate process, started by the first program that needs it.

::

    program ─► lock start.lock ─► coordinator.json? ─► no coordinator: start one, wait until it listens
            ─► connect ─► unlock

The lock is one of the operating system, which releases it if a program dies. The coordinator is a separate process
because any of the programs may end or be killed first. It ends when all programs have left. Then the run is over, or
its state is kept in ``coordinator.state`` for programs that come later.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from evalpool._clock import monotonic
from evalpool._files import lock, new_file, unlock
from evalpool._interpreter import interpreter
from evalpool._json import from_json, to_json
from evalpool._launchers import child_environment
from evalpool._net._listener import new_key
from evalpool._net._sockets import listen_locally
from evalpool.errors import SimulationError
from evalpool.simulation._files import LOG, how_it_ended, write_atomically
from evalpool.simulation._host import Contact, new_coordinator, open_session, session_if_heard
from evalpool.simulation._run import RunSettings
from evalpool.simulation._server import CoordinatorServer, Presence
from evalpool.simulation._session import SocketSession

__all__ = ["join_launched", "main"]

LOCK = "start.lock"
STATE = "coordinator.state"
ERRORS = "coordinator.err"
NO_CALLER_LIMIT = 30.0
"""Seconds after which a coordinator without any caller ends: the program that started it has died."""

_started: list[subprocess.Popen[bytes]] = []


def join_launched(directory: str, settings: RunSettings, worker: int | None) -> SocketSession | None:
    """Join the run of this directory; start its coordinator if there is none. Returns None if the run has ended.

    Raises:
        SimulationError: the coordinator was killed, or refuses this caller.
    """
    with _locked(directory):
        if how_it_ended(directory) is not None:
            return None
        contact = Contact.read(directory)
        if contact is not None:
            session = session_if_heard(directory, contact, settings, worker)
            if session is not None:
                return session
        contact = _start(directory, settings)
        return open_session(directory, contact, settings, worker)


def _start(directory: str, settings: RunSettings) -> Contact:
    if os.path.exists(os.path.join(directory, LOG)) and not os.path.exists(os.path.join(directory, STATE)):
        raise SimulationError(
            f"The coordinator of the run in {directory} was killed, so the run cannot continue. The completed "
            f"evaluations are in {LOG}; remove the directory to begin again."
        )
    _reap()
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = f"import sys; sys.path.insert(0, {here!r}); from evalpool.simulation._launch import main; main()"
    with os.fdopen(new_file(os.path.join(directory, ERRORS)), "wb") as errors:
        process = subprocess.Popen(
            [interpreter(), "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=child_environment(),
            start_new_session=True,  # a Ctrl-C in the terminal must reach only the programs
        )
    _started.append(process)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        with contextlib.suppress(OSError):
            process.stdin.write(to_json({"directory": directory, "settings": settings.as_json()}).encode())
            process.stdin.close()
        ready = process.stdout.readline()
    contact = Contact.read(directory)
    if ready != b"ready\n" or contact is None:
        process.wait()
        with open(os.path.join(directory, ERRORS), "rb") as errors:
            why = errors.read().decode(errors="replace").strip()
        raise SimulationError(f"The coordinator of the run in {directory} could not be started: {why[-2000:]}")
    return contact


def _reap() -> None:
    """Drop the coordinators that this program started and that have ended."""
    _started[:] = [process for process in _started if process.poll() is None]


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Hold the run's lock; waits while another program holds it."""
    with open(os.path.join(directory, LOCK), "ab") as file:
        lock(file.fileno(), wait=True)
        yield


def main() -> None:
    """Run the coordinator, in its process."""
    task = from_json(sys.stdin.buffer.read())
    directory, settings = task["directory"], RunSettings.from_json(task["settings"])
    kept = os.path.join(directory, STATE)
    state: dict[str, Any] | None = None
    seed = settings.seed
    if os.path.exists(kept):
        with open(kept, "rb") as file:
            state = json.load(file)
        os.unlink(kept)
        seed = state["seed"]
        settings = RunSettings.from_json(state["settings"])
    coordinator = new_coordinator(settings, directory, seed, state)
    listener, address = listen_locally(packets=True)
    key = new_key()
    presence = Presence(directory, settings.num_callers, new=True)
    server = CoordinatorServer(coordinator, listener, key, presence)
    contact = Contact(address, key)
    contact.write(directory)
    sys.stdout.write("ready\n")
    sys.stdout.close()
    give_up_at = monotonic() + NO_CALLER_LIMIT
    with open(os.path.join(directory, LOCK), "ab") as guard:

        def may_end(all_gone: bool) -> bool:
            if not all_gone and (server.num_connections or monotonic() < give_up_at):
                return False
            if not lock(guard.fileno(), wait=False):
                return False  # a program is joining now
            if server.pending():
                unlock(guard.fileno())
                return False
            return True

        server.run(may_end, within=NO_CALLER_LIMIT)
        if not coordinator.over:
            left = {**coordinator.state(), "seed": coordinator.seed, "settings": settings.as_json()}
            write_atomically(kept, json.dumps(left).encode(), 0o600)
        contact.remove(directory)
        server.close()
        presence.close()
        coordinator.close()
        with contextlib.suppress(FileNotFoundError):
            if os.path.getsize(os.path.join(directory, ERRORS)) == 0:
                os.unlink(os.path.join(directory, ERRORS))
