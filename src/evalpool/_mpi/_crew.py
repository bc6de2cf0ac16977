"""The ranks of one communicator, met once: three communicators of our own, and who is on them.

They are duplicates, so that no message of ours meets one of the program's. They live as long as the process: every
evaluator and storage on the same communicator uses them again, told apart by message tags, so that after the first
nothing here is collective, and nothing needs a collective end.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import psutil

from evalpool._checks import is_whole
from evalpool._launchers import launched_tasks
from evalpool._log import get_logger
from evalpool._mpi._polling import PollingBackoff
from evalpool._version import __version__
from evalpool.errors import BackendError, BadArgument, MissingExtra

__all__ = ["CREW", "TAG", "Crew", "Member", "crew_named", "crew_of", "has_runner", "load_mpi", "one_rank_only",
           "runner_crew"]  # fmt: skip

logger = get_logger()

CREW = 0
"""The tag of what concerns the ranks themselves: the tag of an evaluator, on orders: it is closed (`CREW`: all are, go
home); and on work, to the root: the rank has nothing more to do with one that was closed."""
TAG = struct.Struct("<q")
FAREWELL = 3.0
"""Seconds that the root's process waits at its end for ranks that still run a job of a closed evaluator."""

PIECE = 1 << 26
"""Bytes. A message of just so many goes on in the next one from the same sender with the same tag; a shorter one is the
last. Open MPI counts the bytes of a message in an int, and refuses 2 GiB."""
TAGS = 16_000
"""Evaluators, or storages, that are told apart; MPI promises tags up to 32767."""


class Member(NamedTuple):
    """One rank."""

    rank: int
    host: str
    pid: int
    evalpool: str
    python: str


def load_mpi() -> Any:
    """The module ``mpi4py.MPI``, initialised with the thread level that we need.

    Raises:
        MissingExtra: mpi4py is not installed.
        BackendError: it finds no MPI library; MPI was initialised without ``MPI_THREAD_MULTIPLE``.
    """
    try:
        from mpi4py import MPI
    except ImportError as error:
        more = "; and an MPI, such as pip install mpich"
        raise MissingExtra.of(f"MPI needs mpi4py ({error})", "mpi", more) from error
    except RuntimeError as error:
        raise BackendError(
            f"mpi4py cannot load an MPI library ({error}). Install one (pip install mpich, or your cluster's module) "
            "and start the program by its mpirun; MPI4PY_LIBMPI=/path/to/libmpi.so names another one."
        ) from error
    if MPI.Is_finalized():
        raise BackendError("MPI is finalized in this process; make the evaluator before MPI.Finalize() is called.")
    if not MPI.Is_initialized():
        MPI.Init_thread(MPI.THREAD_MULTIPLE)
    level = MPI.Query_thread()
    if level < MPI.THREAD_MULTIPLE:
        names = {MPI.THREAD_SINGLE: "SINGLE", MPI.THREAD_FUNNELED: "FUNNELED", MPI.THREAD_SERIALIZED: "SERIALIZED"}
        raise BackendError(
            f"MPI was initialised with MPI_THREAD_{names[level]}, and evalpool needs MPI_THREAD_MULTIPLE: a thread "
            "beside yours does its messages. Let mpi4py initialise MPI by its default (no mpi4py.rc.thread_level) or "
            "use an MPI library that has it."
        )
    return MPI


class Posted:
    """A message that is on its way. Not for two threads at a time, as MPI forbids that of a request."""

    __slots__ = ("_requests", "data")

    def __init__(self, requests: list[Any], data: Any) -> None:
        self._requests, self.data = requests, data

    def is_sent(self) -> bool:
        """Has MPI no need of it any more?"""
        while self._requests and self._requests[-1].Test():
            self._requests.pop()
        return not self._requests


class Crew:
    """Our communicators over a group of ranks. Made by all of them together.

    Attributes:
        work: jobs to the ranks; outcomes and records to the root.
        orders: what must not wait behind jobs: stop, steal back, close.
        logs: requests to a storage's log, and answers.
        members: by rank.
    """

    def __init__(self, comm: Any, root: int) -> None:
        self.mpi = load_mpi()
        self.work, self.orders, self.logs = comm.Dup(), comm.Dup(), comm.Dup()
        self.rank, self.size, self.root = int(self.work.rank), int(self.work.size), root
        python = ".".join(map(str, sys.version_info[:3]))
        mine = Member(self.rank, socket.gethostname(), os.getpid(), __version__, python)
        self.members: list[Member] = [Member(*member) for member in self.work.allgather(tuple(mine))]
        self._check_versions()
        here = mine.host
        self._seen = [member for member in self.members if member.host == here and psutil.pid_exists(member.pid)]
        self.key = self.work.bcast(f"{socket.gethostname()}-{os.getpid()}-{next(_count)}", root)
        self._tags = itertools.count(1)
        self._sending: deque[Posted] = deque()
        self._send_lock = threading.Lock()
        self.one_host = len({member.host for member in self.members}) == 1
        self.at_end: list[Callable[[], None]] = []  # called when this process ends, the last one first
        self._owing: set[tuple[int, int]] = set()  # (rank, tag): at its close the rank ran a job of it
        self.exit_code = 1  # of the whole run, if a rank must be ended by force
        self.server: Any = None  # of jobs, on a rank that serves
        self.is_aborting = False
        atexit.register(self.part)
        _watch_finalize(self.mpi)

    def _check_versions(self) -> None:
        """All ranks see the same list, so all raise or none."""
        first = self.members[0]
        for member in self.members:
            # Pickles and bytecode travel between ranks: patch releases of Python agree on both.
            if (member.evalpool, member.python.split(".")[:2]) != (first.evalpool, first.python.split(".")[:2]):
                raise BackendError(
                    f"The ranks run different versions: rank {first.rank} on {first.host} has evalpool "
                    f"{first.evalpool} and Python {first.python}, rank {member.rank} on {member.host} has evalpool "
                    f"{member.evalpool} and Python {member.python}. Start all of them from the same environment."
                )

    @property
    def others(self) -> list[int]:
        """All ranks but the root."""
        return [rank for rank in range(self.size) if rank != self.root]

    def dead_rank(self) -> Member | None:
        """A rank of this host whose process has ended, as far as its processes are seen from here."""
        return next((member for member in self._seen if not psutil.pid_exists(member.pid)), None)

    def next_tag(self) -> int:
        """A tag for one more evaluator or storage. Counted alike on all ranks where all make it together."""
        return next(self._tags) % TAGS + 1

    def send(self, comm: Any, data: Any, rank: int, tag: int) -> None:
        """Send bytes without waiting for the receiver. Any thread; for one tag, one thread at a time."""
        self.keep(self.post(comm, data, rank, tag))

    def post(self, comm: Any, data: Any, rank: int, tag: int) -> Posted | None:
        """Begin to send bytes; the answer, if there is one, is for `keep` or `wait_until_sent`."""
        if len(data) < PIECE:
            request = comm.Isend([data, self.mpi.BYTE], rank, tag)
            return None if request.Test() else Posted([request], data)  # small ones are on their way at once
        view = memoryview(data)
        starts = range(0, len(view) + 1, PIECE)  # the last piece is shorter than the others, if need be empty
        return Posted([comm.Isend([view[at : at + PIECE], self.mpi.BYTE], rank, tag) for at in starts], data)

    def keep(self, posted: Posted | None) -> None:
        """Let what was posted go out in its own time, as the receiver takes it."""
        if posted is not None:
            with self._send_lock:
                self._sending.append(posted)
                while self._sending and self._sending[0].is_sent():
                    self._sending.popleft()

    def wait_until_sent(self, posted: Posted | None, given_up: Callable[[], bool]) -> None:
        """Wait until the receiver has what was posted, or is known not to want it any more."""
        if posted is None:
            return
        # Each look moves a large message on by a fragment: no pauses between.
        polling = PollingBackoff(lambda: given_up() or posted.is_sent(), len(posted.data) >= PIECE)
        while not polling.wait():
            pass
        if given_up():
            self.keep(posted)

    def receive(self, comm: Any, status: Any) -> bytearray:
        """The message that a probe found; the caller is the only one who receives on `comm` with its tag."""
        source, tag, count = status.Get_source(), status.Get_tag(), status.Get_count(self.mpi.BYTE)
        buffer = bytearray(count)
        comm.Recv([buffer, self.mpi.BYTE], source, tag)
        while count == PIECE:
            comm.Probe(source, tag, status)
            at, count = len(buffer), status.Get_count(self.mpi.BYTE)
            buffer += bytes(count)
            with memoryview(buffer) as view, view[at:] as rest:
                comm.Recv([rest, self.mpi.BYTE], source, tag)
        return buffer

    def abort(self, reason: str, code: int = 1) -> None:
        """End all ranks at once with a word about why; for what would otherwise let somebody wait for ever."""
        self.is_aborting = True
        self.tell(reason)
        self.mpi.COMM_WORLD.Abort(code)

    def tell(self, reason: str) -> None:
        """A line on standard error about what this rank meets; what was printed before comes before it."""
        line = f"evalpool: rank {self.rank} (process {os.getpid()} on {socket.gethostname()}): {reason}\n"
        with contextlib.suppress(Exception):  # whatever stands there as a stream
            sys.stdout.flush()
        os.write(2, line.encode(errors="replace"))

    def meet(self) -> None:
        """Wait for all ranks, while other threads of this process go on with messages.

        A blocking call of MPI keeps them from it on MPICH, and those who come later may need an answer from here.
        """
        request = self.work.Ibarrier()
        polling = PollingBackoff(request.Test, False)
        while not polling.wait():
            pass

    # Ends.

    def close(self, tag: int, busy: list[int]) -> None:
        """On the root: tell all ranks that an evaluator is closed (`CREW`: that they may go home).

        Args:
            tag: of the evaluator.
            busy: the ranks that, as far as known, run a job of it.
        """
        self._owing.update((rank, tag) for rank in busy)
        self._hear_farewells(CREW)  # those of evaluators closed before
        for rank in self.others:
            self.send(self.orders, TAG.pack(tag), rank, CREW)

    def part(self) -> None:
        """At the end of this process: nobody is left hanging, neither here nor there. Idempotent.

        The root waits, for a bounded time, for ranks that run a job which nobody wants any more; a rank that cannot be
        reached (C code that holds the GIL) is ended by force, and all others with it, as MPI knows no other way.
        """
        while self.at_end:
            self.at_end.pop()()
        if self.rank != self.root or not self._owing:
            return
        PollingBackoff(lambda: self._hear_farewells(self.mpi.ANY_TAG), False).wait(FAREWELL)
        if self._owing:
            ranks = sorted({rank for rank, _ in self._owing})
            logger.error(
                "Rank(s) %s still run a job %s s after the evaluator was closed and cannot be interrupted; all ranks "
                'are ended by force. isolation="process" avoids this.',
                ", ".join(map(str, ranks)),
                FAREWELL,
            )
            sys.stdout.flush()
            self.mpi.COMM_WORLD.Abort(self.exit_code)

    def _hear_farewells(self, tags: int) -> bool:
        """Take the last messages of ranks that were dismissed. Returns whether none is missing."""
        status = self.mpi.Status()
        while self.work.Iprobe(self.mpi.ANY_SOURCE, tags, status):
            rank, tag = status.Get_source(), status.Get_tag()
            data = self.receive(self.work, status)
            if tag == CREW:
                self._owing.discard((rank, TAG.unpack(data)[0]))
        return not self._owing


def _watch_finalize(mpi: Any) -> None:
    """Hear of `MPI_Finalize`, by whomever it is called, while MPI still works: once for this process.

    The standard has it delete the attributes of COMM_SELF before anything else (MPI 4.1, 11.2.4). Where a script or a
    library calls it, others would wait for messages that can no longer come.
    """
    global _finalize_key
    if _finalize_key is None:
        _finalize_key = mpi.Comm.Create_keyval(delete_fn=_on_finalize)
        mpi.COMM_SELF.Set_attr(_finalize_key, True)


def _on_finalize(comm: Any, key: int, value: Any) -> None:
    for crew in _all_crews():
        if crew.server is not None and crew.server.is_serving:
            crew.abort(
                f"{crew.server.describe()} called MPI.Finalize(), after which this rank can neither run jobs nor tell "
                'how they ended; all ranks are ended. Leave it out, or use isolation="process".'
            )
        crew.part()


_finalize_key: int | None = None
_count = itertools.count()
_crews: list[tuple[Any, Crew]] = []
_of_runner: Crew | None = None


def crew_of(comm: Any, root: int) -> Crew:
    """The crew of a communicator, made by the first call, which all its ranks make together.

    Raises:
        BackendError: it has one rank only; the ranks run different versions.
        BadArgument: `comm` is no communicator of processes that are all in it; `root` is none of its ranks.
    """
    MPI = load_mpi()
    if comm is None:
        comm = MPI.COMM_WORLD
    if not isinstance(comm, MPI.Intracomm) or comm == MPI.COMM_NULL:
        raise BadArgument(f"comm is {comm!r}; give an intracommunicator of mpi4py, or None for all ranks.")
    if not is_whole(root) or not 0 <= root < comm.size:
        raise BadArgument(f"root is {root!r}; give one of the ranks 0 to {comm.size - 1}.")
    root = int(root)
    if comm.size == 1:
        script = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "script.py"
        raise BackendError(one_rank_only(MPI, f"python -m evalpool.mpi {script}"))
    if _of_runner is not None:
        if root != _of_runner.root or MPI.Comm.Compare(comm, _of_runner.work) != MPI.CONGRUENT:
            raise BadArgument(
                "Under `python -m evalpool.mpi` only the root runs the script, so the other ranks cannot take part in "
                "another communicator; leave out comm and root, or start the script without `-m evalpool.mpi`."
            )
        return _of_runner
    for known, crew in _crews:
        # A handle may be used again for other ranks after a Free.
        if known == comm and crew.root == root and MPI.Comm.Compare(comm, crew.work) == MPI.CONGRUENT:
            return crew
    crew = Crew(comm, root)
    _crews.append((comm, crew))
    return crew


def one_rank_only(mpi: Any, command: str) -> str:
    """What to do where MPI knows one rank only."""
    tasks = launched_tasks()
    start = f"mpirun -n {max(4, tasks)} {command}"
    if tasks == 1 or mpi.COMM_WORLD.size > 1:
        return (
            "There is one MPI rank only: nobody would run the jobs. Start the program with one rank for the search and "
            f"one or more for the jobs: {start}"
        )
    library = " ".join(mpi.Get_library_version().split("\n")[0].rstrip(",\0").split())
    return (
        f"The launcher has started {tasks} tasks, and each of them is an MPI program of one rank: launcher and MPI "
        f"library do not match. The library is {library}. Start it by its own mpirun ({start}), or let Slurm speak its "
        "protocol: srun --mpi=pmi2 for MPICH, MVAPICH and Intel MPI, srun --mpi=pmix for Open MPI (srun --mpi=list "
        "says which there are). MPI4PY_LIBMPI=/path/to/libmpi.so picks another library."
    )


def runner_crew(comm: Any) -> Crew:
    """The crew of `python -m evalpool.mpi`, which all evaluators of the script use."""
    global _of_runner
    _of_runner = Crew(comm, 0)
    return _of_runner


def crew_named(key: str) -> Crew | None:
    """The crew of this name, if this process is in it."""
    return next((crew for crew in _all_crews() if crew.key == key), None)


def _all_crews() -> list[Crew]:
    return [crew for _, crew in _crews] + ([] if _of_runner is None else [_of_runner])


def has_runner() -> bool:
    """Does only the root run the script?"""
    return _of_runner is not None
