"""One job on a worker of an engine that is not ours: what it is called with, and its line to the evaluator.

`concurrent.futures`, Ray and their like call a function somewhere. That function is a `RemoteCall`: it holds
the pickled task, unpickles it once per worker process, and returns the outcome as bytes, so that neither a
strange configuration nor a strange result can upset the engine. Records and requests to stop take a
connection of their own, opened at the first need: most run-functions never do.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import secrets
import socket
import threading
import time
from multiprocessing.connection import Client, Connection, Listener
from typing import TYPE_CHECKING, Any

from evalpool._log import get_logger
from evalpool.outcomes import FailureKind, Outcome, Worker, failed
from evalpool.worker._call import Task, describe_exception
from evalpool.worker._origin import adopt
from evalpool.worker._pickling import dump_whole

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator

__all__ = ["Line", "RemoteCall", "on_our_clock", "read_outcome"]

logger = get_logger()

Address = tuple[Any, bytes]
"""Of a line: where it listens, and the key that both sides must have."""


class RemoteCall:
    """A picklable function that evaluates one job and returns its pickled outcome; never raises."""

    def __init__(
        self, task: bytes, storage: bytes | None, advice: str, line: Address | None, origin: bytes = b""
    ) -> None:
        self._origin, self._task = origin, task
        self._storage, self._advice, self._line = storage, advice, line
        # Not of the task alone: the same function may be evaluated for another storage, by another evaluator.
        digest = hashlib.blake2b(task, digest_size=16)
        digest.update(storage or b"")
        digest.update(repr(line).encode())
        self._digest = digest.digest()

    def __call__(self, number: int, attempt: int, configuration: bytes) -> bytes:
        try:
            task, channel, worker = self._unpack()
            arguments, extra = pickle.loads(configuration)
        except BaseException as error:  # noqa: BLE001  the user's modules and objects may raise anything
            text = "The run-function or its configuration could not be unpickled in the worker.\n"
            text += describe_exception(error, error.__traceback__)
            return pickle.dumps(failed(FailureKind.UNPICKLABLE, text))
        outcome = task.call(number, attempt, arguments, channel, extra, worker)
        try:
            return dump_whole(outcome, back=True)
        except BaseException as error:  # noqa: BLE001  as above
            text = f"The result could not be pickled: {describe_exception(error, None)}"
            lost = failed(FailureKind.UNPICKLABLE, text, start=outcome.start, end=outcome.end, worker=worker)
            return pickle.dumps(lost)

    def _unpack(self) -> tuple[Task, _RemoteChannel, Worker]:
        known = _unpacked.get(self._digest)
        if known is None:
            if self._origin:
                adopt(self._origin, ours=False)
            task = pickle.loads(self._task)
            worker = Worker(f"{socket.gethostname()}-{os.getpid()}", socket.gethostname(), os.getpid())
            known = task, _RemoteChannel(self._line, self._storage, self._advice), worker
            _unpacked.clear()  # a pool is used by one evaluator at a time; keep no other's arrays
            _unpacked[self._digest] = known
        return known


_unpacked: dict[bytes, tuple[Task, _RemoteChannel, Worker]] = {}
"""In a worker: the task it was last sent."""


class _RemoteChannel:
    """The channel of a running job to an evaluator elsewhere; each call is one round trip."""

    def __init__(self, line: Address | None, storage: bytes | None, advice: str) -> None:
        self._line, self._pickled_storage, self._advice = line, storage, advice
        self._storage: Any = None
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def record(self, number: int, attempt: int, budget: float, objective: Any) -> None:
        self._ask("record", number, attempt, budget, objective)

    def stopped(self, number: int, attempt: int) -> bool:
        return self._ask("stopped", number, attempt)

    def must_end(self, number: int, attempt: int) -> bool:
        return self._ask("must_end", number, attempt)

    def storage(self) -> Any:
        if self._storage is None:
            if self._pickled_storage is None:
                from evalpool.errors import NotShareable

                raise NotShareable(self._advice)
            self._storage = pickle.loads(self._pickled_storage)
        return self._storage

    def _ask(self, *question: Any) -> bool:
        with self._lock:
            if self._line is None:
                return False
            try:
                if self._connection is None:
                    address, key = self._line
                    self._connection = Client(address, authkey=key)
                self._connection.send_bytes(dump_whole(question, back=True))
                return bool(self._connection.recv())
            except (OSError, EOFError) as error:
                logger.warning(
                    "The evaluator cannot be reached at %s (%s): what this worker records is lost, and jobs here "
                    "cannot be asked to stop.",
                    self._line[0],
                    error,
                )
                self._line = None
                return False


class Line:
    """The evaluator's end: answers its workers' records and questions, in a thread per worker that asks.

    It listens on loopback only, and to those only who have its key.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        key = secrets.token_bytes(32)
        self._listener = Listener(("127.0.0.1", 0), authkey=key)
        self.address: Address = (self._listener.address, key)
        self._closed = False
        self._stops: set[tuple[int, int]] = set()  # the attempts that a stopper ended
        self._connections: set[Connection] = set()
        self._threads: list[threading.Thread] = []
        thread = threading.Thread(target=self._accept, name="evalpool-line", daemon=True)
        thread.start()
        self._acceptor = thread

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except Exception as error:  # noqa: BLE001  a stranger without the key, or one that hung up
                if not self._closed:
                    logger.warning("A connection to the evaluator's line was refused: %s", error)
                continue
            self._connections.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), name="evalpool-line", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: Connection) -> None:
        evaluator = self._evaluator
        with contextlib.suppress(OSError, EOFError), connection:
            while True:
                what, number, attempt, *facts = pickle.loads(connection.recv_bytes())
                if what == "record":
                    answer = evaluator._recorded(number, attempt, *facts)
                    if answer:
                        self._stops.add((number, attempt))
                else:
                    answer = evaluator._asked_to_stop(number, attempt)
                    if what == "stopped" and (number, attempt) in self._stops:
                        answer = True
                connection.send(answer)

    def forget(self, number: int, attempt: int) -> None:
        """The attempt is over."""
        self._stops.discard((number, attempt))

    def close(self) -> None:
        """End all threads."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):  # wake the acceptor
            socket.create_connection(self._listener.address, 1.0).close()
        self._acceptor.join(2.0)
        self._listener.close()
        for connection in list(self._connections):
            # Closing alone does not wake a thread that reads.
            with contextlib.suppress(OSError):
                sock = socket.socket(fileno=os.dup(connection.fileno()))
                with sock:
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2.0)


def read_outcome(payload: bytes) -> Outcome:
    """The outcome from a `RemoteCall`'s bytes; a result that cannot be unpickled is a failure."""
    try:
        outcome = pickle.loads(payload)
    except BaseException as error:  # noqa: BLE001  a result's own code may raise anything
        text = f"The result could not be unpickled here: {describe_exception(error, error.__traceback__)}"
        return failed(FailureKind.UNPICKLABLE, text)
    if not isinstance(outcome, Outcome):
        return failed(FailureKind.INVALID_OUTPUT, f"a worker returned {type(outcome).__name__}, no outcome")
    return outcome


def on_our_clock(outcome: Outcome) -> Outcome:
    """Times of another host's clock are of use as a duration only: it ended when we heard of it."""
    if outcome.start is None or outcome.end is None:
        return outcome
    now = time.monotonic()
    return outcome._replace(start=now - (outcome.end - outcome.start), end=now)
