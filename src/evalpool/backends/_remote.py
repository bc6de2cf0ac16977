"""One job on a worker of a foreign engine: the function that the engine calls, and its line to the evaluator.

`concurrent.futures` and similar engines call a function somewhere. That function is a `RemoteCall`: it holds the
pickled task, unpickles it once per worker process, and returns the outcome as bytes, so that no configuration and no
result can break the engine. Records and requests to stop use a separate connection. It is opened at the first need,
since most run-functions do not need it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import socket
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from evalpool._log import get_logger
from evalpool._net._connect import connect
from evalpool._net._server import AnswerServer
from evalpool._net._sockets import Address
from evalpool.outcomes import FailureKind, Outcome, Worker, failed
from evalpool.worker._call import Task, describe_exception
from evalpool.worker._origin import adopt
from evalpool.worker._pickling import dump_whole

if TYPE_CHECKING:
    from evalpool.evaluator._port import Port

__all__ = ["Line", "RemoteCall", "read_outcome"]

logger = get_logger()

LineAddress = tuple[Address, bytes]
"""The address at which a line listens, and the key that both sides must have."""


class RemoteCall:
    """A picklable function that evaluates one job and returns its pickled outcome; never raises."""

    def __init__(
        self, task: bytes, storage: bytes | None, advice: str, line: LineAddress | None, origin: bytes = b""
    ) -> None:
        self._origin, self._task = origin, task
        self._storage, self._advice, self._line = storage, advice, line
        # Not only of the task: another evaluator may run the same function with another storage.
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

    def prepare(self) -> None:
        """Import what the run-function needs, so that a time limit that counts from here does not count that.

        If that fails, so does the call, and its outcome says why.
        """
        with contextlib.suppress(BaseException):  # raised again by the call
            self._unpack()

    def _unpack(self) -> tuple[Task, _RemoteChannel, Worker]:
        known = _unpacked.get(self._digest)
        if known is None:
            if self._origin:
                adopt(self._origin, ours=False)
            task = pickle.loads(self._task)
            worker = Worker(f"{socket.gethostname()}-{os.getpid()}", socket.gethostname(), os.getpid())
            known = task, _RemoteChannel(self._line, self._storage, self._advice), worker
            _unpacked.clear()  # one evaluator uses an executor at a time; do not keep the arrays of another
            _unpacked[self._digest] = known
        return known


_unpacked: dict[bytes, tuple[Task, _RemoteChannel, Worker]] = {}
"""In a worker: the task that it got last."""


class _RemoteChannel:
    """The channel of a running job to an evaluator elsewhere; each call is one round trip."""

    def __init__(self, line: LineAddress | None, storage: bytes | None, advice: str) -> None:
        self._line, self._pickled_storage, self._advice = line, storage, advice
        self._storage: Any = None
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def record(self, number: int, attempt: int, budget: float, objective: Any, runtime: Any = None) -> None:
        self._ask("record", number, attempt, budget, objective, runtime)

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
            return self._exchange(question)

    def _exchange(self, question: tuple[Any, ...]) -> bool:
        """Under the lock: send one question and return its answer; False if the evaluator cannot be reached."""
        if self._line is None:
            return False
        try:
            if self._connection is None:
                address, key = self._line
                self._connection = Connection(connect(address, key).detach())
            self._connection.send_bytes(dump_whole(question, back=True))
            return bool(pickle.loads(self._connection.recv_bytes()))
        except (OSError, EOFError) as error:
            logger.warning(
                "The evaluator cannot be reached at %s (%s): the records of this worker are lost, and its jobs "
                "cannot be asked to stop.",
                self._line[0],
                error,
            )
            self._line = None
            return False
        except BaseException:
            # Interrupted: the answer may still come, and must not be read as the answer to another question.
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            raise


class Line:
    """The evaluator's side: answers workers' records and questions, in one thread per worker that asks.

    Only programs of this host that have its key can connect.
    """

    def __init__(self, port: Port) -> None:
        self._port: Port = getattr(port, "_port", port)  # given an evaluator, use its port
        self._stops: set[tuple[int, int]] = set()  # the attempts that a stopper ended
        self._server = AnswerServer(self._answer, "evalpool-line")
        self.address: LineAddress = (self._server.address, self._server.key)

    def _answer(self, question: bytes) -> bytes:
        what, number, attempt, *facts = pickle.loads(question)
        found = self._port.find(number, attempt)
        if what == "record":
            answer = found is None or self._port.recorded(found, *facts)
            if answer:
                self._stops.add((number, attempt))
        else:
            answer = found is None or self._port.asked_to_stop(found)
            if what == "stopped" and (number, attempt) in self._stops:
                answer = True
        return pickle.dumps(answer)

    def forget(self, number: int, attempt: int) -> None:
        """Drop what is kept of an attempt that has ended."""
        self._stops.discard((number, attempt))

    def close(self) -> None:
        """End all threads."""
        self._server.close()


def read_outcome(payload: bytes) -> Outcome:
    """Return the outcome from a `RemoteCall`'s bytes; a result that cannot be unpickled is a failure."""
    try:
        outcome = pickle.loads(payload)
    except BaseException as error:  # noqa: BLE001  a result's own code may raise anything
        text = f"The result could not be unpickled here: {describe_exception(error, error.__traceback__)}"
        return failed(FailureKind.UNPICKLABLE, text)
    if not isinstance(outcome, Outcome):
        return failed(FailureKind.INVALID_OUTPUT, f"a worker returned {type(outcome).__name__} instead of an outcome")
    return outcome
