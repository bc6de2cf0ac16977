"""A storage in the root rank's memory that all ranks of a communicator use.

::

    rank                                  root
    _RankLink ──► {"do": "append", ...} ──►   _RootServer: a thread that looks for requests
          ◄── {"ok": ...}           ◄──   the log, which the root uses directly

The messages are the same JSON texts as those of `SharedMemoryStorage`, but they are sent with MPI.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from evalpool._guard import Guard, start_guarded
from evalpool._json import from_json
from evalpool._mpi._crew import Crew, crew_named, crew_of, has_runner
from evalpool._mpi._polling import PollingBackoff
from evalpool.errors import NotShareable, StorageUnavailable
from evalpool.storage._base import Sharing
from evalpool.storage._counters import Counters
from evalpool.storage._hub import read_reply, reply_to
from evalpool.storage._shared_memory import SharedMemoryStorage
from evalpool.storage._written import WireStorage

__all__ = ["MPIStorage"]

NO_MORE_REQUESTS = b""
"""The last request of a rank: it says that the rank will send no more."""


class MPIStorage(SharedMemoryStorage):
    """Keeps events in the memory of the root rank; every rank is a client.

    All ranks construct it together; under ``python -m evalpool.mpi`` only the root does, and the ranks that run its
    jobs are clients. Nothing else is collective: a rank may close it, or end, at any time. The root answers requests
    until every other rank has ended, even after the last line of its own program. Its size is not limited. A request
    costs a round trip to the root, which answers at once when it is busy and within 2 ms when it is idle. The root
    itself only takes a lock.

    Args:
        comm: a communicator of mpi4py, which is duplicated. None for all ranks.
        root: the rank that keeps the log in its memory.

    Raises:
        MissingExtra, BackendError: as `MPICommEvaluator`.
    """

    shared = Sharing.CLUSTER
    ranks_only = True

    def __init__(self, comm: Any = None, root: int = 0) -> None:
        WireStorage.__init__(self)
        crew = crew_of(comm, root)
        self._begin(crew, crew.key, crew.next_tag())
        if crew.rank == root:
            self._log = []
            server = _RootServer(crew, self._tag, self._answer, leaving=0 if has_runner() else crew.size - 1)
            crew.at_end.append(server.wait_for_ranks)
        else:
            crew.at_end.append(self._rank_link.send_no_more)

    def _begin(self, crew: Crew | None, key: str, tag: int) -> None:
        self._crew_key, self._tag = key, tag
        self._rank_link = _RankLink(crew, tag)
        self._link: Any = self._rank_link
        self._log: list[str] | None = None
        self._counters = Counters()
        self._begin_writing("MPIStorage", remote=True)

    @classmethod
    def _on_rank(cls, key: str, tag: int) -> MPIStorage:
        """Return a client for a job in this rank. In a child process of a rank, using the client raises an error."""
        client = cls.__new__(cls)
        WireStorage.__init__(client)
        client._begin(crew_named(key), key, tag)
        return client

    def _release(self, flushed: bool) -> None:
        """Do nothing: the root answers requests until all ranks have ended."""

    def _renew(self) -> None:
        """Begin again in a forked child, which is not a rank and cannot send requests."""
        self._begin(None, self._crew_key, self._tag)

    def __reduce__(self) -> tuple[Any, ...]:
        return MPIStorage._on_rank, (self._crew_key, self._tag)

    def __repr__(self) -> str:
        return f"<MPIStorage, {'root' if self._log is not None else 'client'}>"


class _RankLink:
    """Sends the requests of one rank, and waits for the answer to each. The tag says which storage a message is for."""

    _lock = threading.Lock()  # one for all clients of this process: the tag of an answer names only the storage

    def __init__(self, crew: Crew | None, tag: int) -> None:
        self._crew, self._tag = crew, 2 * tag
        self._left = False

    def ask(self, request: bytes) -> Any:
        """Send a request, as JSON text, and return the answer. Raises what the root raised."""
        crew = self._crew
        if crew is None:
            raise NotShareable(
                "MPIStorage reaches the ranks of its communicator, not their child processes: use "
                'JournalStorage(directory) or RedisStorage(host) with isolation="process" and with the process backend.'
            )
        if self._left:
            raise StorageUnavailable("this rank has ended its use of the MPIStorage.")
        status = crew.mpi.Status()
        with self._lock:
            crew.send(crew.logs, request, crew.root, self._tag)
            polling = PollingBackoff(lambda: bool(crew.logs.Iprobe(crew.root, self._tag + 1, status)), False)
            while not polling.wait():
                pass
            reply = crew.receive(crew.logs, status)
        return read_reply(from_json(bytes(reply)))

    def send_no_more(self) -> None:
        """Tell the root that this process will send no more requests."""
        if self._crew is not None and not self._left:
            self._left = True
            self._crew.send(self._crew.logs, NO_MORE_REQUESTS, self._crew.root, self._tag)

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class _RootServer:
    """A thread of the root that answers the requests of all ranks, until the process ends."""

    def __init__(self, crew: Crew, tag: int, answer: Callable[[dict[str, Any]], Any], leaving: int) -> None:
        self._crew, self._tag, self._answer = crew, 2 * tag, answer
        self._leaving = leaving  # ranks that have not announced their end
        self._all_left = threading.Event()
        self._status = crew.mpi.Status()
        self._polling = PollingBackoff(self._look, False)
        name = f"evalpool-mpi-storage-{tag}"
        self._thread = start_guarded(name, Guard("The thread that serves an MPIStorage"), self._serve)

    def wait_for_ranks(self) -> None:
        """Continue to answer requests until all other ranks have announced their end; then end the thread."""
        if self._leaving:
            self._all_left.wait()
        self._leaving = -1
        self._polling.wake()
        self._thread.join()

    def _look(self) -> bool:
        return bool(self._crew.logs.Iprobe(self._crew.mpi.ANY_SOURCE, self._tag, self._status))

    def _serve(self) -> bool:
        """Answer one request, or wait for one. Return False when all other ranks have announced their end."""
        if self._leaving < 0:
            return False
        if not self._polling.wait():
            return True
        request = bytes(self._crew.receive(self._crew.logs, self._status))
        rank = self._status.Get_source()
        if request == NO_MORE_REQUESTS:
            self._leaving -= 1
            if self._leaving == 0:
                self._all_left.set()
        else:
            self._crew.send(self._crew.logs, reply_to(request, self._answer), rank, self._tag + 1)
        return True
