"""Our three communicators over the ranks of one communicator, and which ranks those are.

They are duplicates, so that our messages never mix with the program's. They live as long as the process: every
evaluator and storage on the same communicator uses them, with different message tags. So after the first use nothing
here is collective, not even the end.
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
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import psutil

from evalpool._checks import is_whole
from evalpool._launchers import launched_tasks
from evalpool._log import get_logger
from evalpool._mpi._bells import Bell, Bells
from evalpool._mpi._polling import PollingBackoff
from evalpool._mpi._watch import LAUNCHER_WITHIN, RankWatch
from evalpool._version import __version__
from evalpool.errors import BackendError, BadArgument, MissingExtra

__all__ = ["CREW", "TAG", "Crew", "Member", "crew_named", "crew_of", "has_runner", "load_mpi", "one_rank_only",
           "runner_crew"]  # fmt: skip

logger = get_logger()

CREW = 0
"""The tag of messages about evaluators; each contains an evaluator's tag. On `orders`: the evaluator is closed (for
`CREW` itself: all are, and the rank ends its serving). On `work`, to the root: the rank is done with a closed one."""
TAG = struct.Struct("<q")
LAST_MESSAGES_WITHIN = 3.0
"""Seconds that the root's process waits at its end for ranks that still run a job of a closed evaluator."""
READ_WITHIN = 1.0
"""Seconds in which the launcher reads the reason of an abort, if the machine is busy."""

PIECE = 1 << 26
"""Bytes. A message of exactly this size continues in the next one from the same sender with the same tag; a shorter one
is the last. Open MPI counts the bytes of a message in an int, and refuses 2 GiB."""
TAGS = 16_000
"""How many evaluators and storages have different tags; MPI guarantees tags up to 32767."""


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
        BackendError: there is no MPI library, or MPI was initialised without ``MPI_THREAD_MULTIPLE``.
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
            f"MPI was initialised with MPI_THREAD_{names[level]}, but evalpool needs MPI_THREAD_MULTIPLE, because it "
            "sends messages in a thread of its own. Let mpi4py initialise MPI by its default (no "
            "mpi4py.rc.thread_level), or use an MPI library that has this level."
        )
    return MPI


class Posted:
    """A message that is being sent. Only one thread at a time may use it, as MPI demands for requests."""

    __slots__ = ("_requests", "data")

    def __init__(self, requests: list[Any], data: Any) -> None:
        self._requests, self.data = requests, data

    def is_sent(self) -> bool:
        """Whether MPI does not need the data any more."""
        while self._requests and self._requests[-1].Test():
            self._requests.pop()
        return not self._requests


class Crew:
    """Our communicators over a group of ranks. All ranks construct it together.

    Attributes:
        work: carries jobs to the ranks, and outcomes and records to the root.
        orders: carries what must not wait behind jobs: stop, steal back, close.
        logs: carries requests to a storage's log, and answers.
        members: the ranks, by number.
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
        self._bells = Bells(self.work)
        self.key = self.work.bcast(f"{socket.gethostname()}-{os.getpid()}-{next(_count)}", root)
        self._tags = itertools.count(1)
        self._sending: deque[Posted] = deque()
        self._send_lock = threading.Lock()
        self.one_host = len({member.host for member in self.members}) == 1
        self.at_end: list[Callable[[], None]] = []  # called when this process ends, the last one first
        self._owing: set[tuple[int, int]] = set()  # (rank, tag): the rank ran a job when this evaluator was closed
        self.exit_code = 1  # of the whole run, if a rank must be ended by force
        self.server: Any = None  # the `Rank`, on a rank that serves
        self.is_aborting = False
        atexit.register(self.part)
        _watch_finalize(self.mpi)

    def _check_versions(self) -> None:
        """Raise if versions differ. All ranks see the same list, so all raise or none."""
        first = self.members[0]
        for member in self.members:
            # Ranks exchange pickles and bytecode, which patch releases of Python do not change.
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
        """Return a rank of this host whose process has ended; None if there is none, or its process cannot be seen."""
        return next((member for member in self._seen if not psutil.pid_exists(member.pid)), None)

    def watch(self, ranks: Iterable[int], describe: Callable[[int], str]) -> RankWatch:
        """Begin to watch those of these ranks that are on this host: if one has ended, all are ended, with a message.

        Args:
            describe: returns a sentence about what a rank did, and may return an empty text.
        """

        def on_end(rank: int) -> None:
            member = self.members[rank]
            self.abort(
                f"rank {rank} (process {member.pid}) ended {LAUNCHER_WITHIN:.0f} s ago, and the MPI launcher has not "
                f"ended the others, which would wait for it for ever. So all ranks are ended. {describe(rank)}"
                'With isolation="process" only a job would fail.'
            )

        pids = [(rank, self.members[rank].pid) for rank in ranks if rank in self._bells.here]
        return RankWatch(pids, on_end)

    def next_tag(self) -> int:
        """Return a tag for a new evaluator or storage. All ranks count in the same way if all make it together."""
        return next(self._tags) % TAGS + 1

    def bell(self) -> Bell | None:
        """Return what wakes this rank when a message on `work` comes; None if a rank that may send cannot wake it.

        The root's messages come from all others, and those of the others from the root.
        """
        senders = self.others if self.rank == self.root else [self.root]
        return Bell(self._bells) if self._bells.reach([self.rank, *senders]) else None

    def send(self, comm: Any, data: Any, rank: int, tag: int) -> None:
        """Send bytes without waiting for the receiver. Any thread; for one tag, one thread at a time."""
        self.keep(self.post(comm, data, rank, tag))

    def post(self, comm: Any, data: Any, rank: int, tag: int) -> Posted | None:
        """Begin to send bytes. Pass the result to `keep` or `wait_until_sent`; None if the message is sent already."""
        if len(data) < PIECE:
            request = comm.Isend([data, self.mpi.BYTE], rank, tag)
            self._bells.wake(rank)
            return None if request.Test() else Posted([request], data)  # small messages are sent at once
        view = memoryview(data)
        starts = range(0, len(view) + 1, PIECE)  # the last piece is shorter than the others, and may be empty
        requests = [comm.Isend([view[at : at + PIECE], self.mpi.BYTE], rank, tag) for at in starts]
        self._bells.wake(rank)
        return Posted(requests, data)

    def keep(self, posted: Posted | None) -> None:
        """Keep a posted message alive until the receiver has taken it, without waiting."""
        if posted is not None:
            with self._send_lock:
                self._sending.append(posted)
                self._drop_sent()

    def is_sending(self) -> bool:
        """Whether a message that was given to `keep` is being sent; MPI sends it only during calls of this process."""
        if not self._sending:
            return False
        with self._send_lock:
            self._drop_sent()
            return bool(self._sending)

    def _drop_sent(self) -> None:
        while self._sending and self._sending[0].is_sent():
            self._sending.popleft()

    def wait_until_sent(self, posted: Posted | None, given_up: Callable[[], bool]) -> None:
        """Wait until the receiver has the message, or `given_up` says that it does not need it any more."""
        if posted is None:
            return
        # Each poll sends one more fragment of a large message, so there are no pauses between polls.
        polling = PollingBackoff(lambda: given_up() or posted.is_sent(), len(posted.data) >= PIECE)
        while not polling.wait():
            pass
        if given_up():
            self.keep(posted)

    def receive(self, comm: Any, status: Any) -> bytearray:
        """Receive the message that a probe found; only the caller may receive on `comm` with this tag."""
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
        """End all ranks at once and print the reason. For errors after which another rank would wait for ever."""
        self.is_aborting = True
        self.tell(reason)
        self._end_all_ranks(code)

    def _end_all_ranks(self, code: int) -> None:
        # The launcher hears of the abort by another way, and ends without what it has not read by then.
        PollingBackoff(lambda: _unread(2) == 0, False).wait(READ_WITHIN)
        self.mpi.COMM_WORLD.Abort(code)

    def tell(self, reason: str) -> None:
        """Print a line about this rank on standard error, after everything that was printed before."""
        line = f"evalpool: rank {self.rank} (process {os.getpid()} on {socket.gethostname()}): {reason}\n"
        with contextlib.suppress(Exception):  # sys.stdout may be any object
            sys.stdout.flush()
        os.write(2, line.encode(errors="replace"))

    def meet(self) -> None:
        """Wait for all ranks, without blocking messages of other threads of this process.

        On MPICH a blocking call of MPI would block them, and ranks that come later may need an answer from here.
        """
        request = self.work.Ibarrier()
        polling = PollingBackoff(request.Test, False)
        while not polling.wait():
            pass

    # Ends.

    def close(self, tag: int, busy: list[int]) -> None:
        """On the root: tell all ranks that an evaluator is closed (`CREW`: that they may end their serving).

        Args:
            tag: of the evaluator.
            busy: the ranks that are known to run a job of it.
        """
        self._owing.update((rank, tag) for rank in busy)
        self._read_last_messages(CREW)  # of evaluators that were closed before
        for rank in self.others:
            self.send(self.orders, TAG.pack(tag), rank, CREW)

    def part(self) -> None:
        """End this process's part, so that no rank waits for another one. A second call does nothing.

        The root waits, for a limited time, for ranks that still run a job which is not needed any more. If a rank
        cannot be interrupted (C code that holds the GIL), all ranks are ended by force; MPI cannot end a single one.
        """
        while self.at_end:
            self.at_end.pop()()
        self._bells.close()
        if self.rank != self.root or not self._owing:
            return
        PollingBackoff(lambda: self._read_last_messages(self.mpi.ANY_TAG), False).wait(LAST_MESSAGES_WITHIN)
        if self._owing:
            ranks = sorted({rank for rank, _ in self._owing})
            logger.error(
                "Rank(s) %s still run a job %s s after the evaluator was closed and cannot be interrupted; all ranks "
                'are ended by force. Use isolation="process" to avoid this.',
                ", ".join(map(str, ranks)),
                LAST_MESSAGES_WITHIN,
            )
            sys.stdout.flush()
            self._end_all_ranks(self.exit_code)

    def _read_last_messages(self, tags: int) -> bool:
        """Take the last messages of ranks whose evaluator was closed. Returns whether all have come."""
        status = self.mpi.Status()
        while self.work.Iprobe(self.mpi.ANY_SOURCE, tags, status):
            rank, tag = status.Get_source(), status.Get_tag()
            data = self.receive(self.work, status)
            if tag == CREW:
                self._owing.discard((rank, TAG.unpack(data)[0]))
        return not self._owing


def _unread(fd: int) -> int:
    """How many bytes of a pipe its reader has not read; 0 for anything else."""
    if sys.platform == "win32":
        return 0
    import fcntl
    import termios

    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def _watch_finalize(mpi: Any) -> None:
    """Be called at `MPI_Finalize`, whatever code calls it, while MPI still works; once per process.

    By the standard, it first deletes the attributes of COMM_SELF (MPI 4.1, 11.2.4). If a script or a library calls it,
    other ranks would wait for messages that cannot come any more.
    """
    global _finalize_key
    if _finalize_key is None:
        _finalize_key = mpi.Comm.Create_keyval(delete_fn=_on_finalize)
        mpi.COMM_SELF.Set_attr(_finalize_key, True)


def _on_finalize(comm: Any, key: int, value: Any) -> None:
    for crew in _all_crews():
        if crew.server is not None and crew.server.is_serving:
            crew.abort(
                f"{crew.server.describe()} called MPI.Finalize(), after which this rank can neither run jobs nor "
                'report how they ended. So all ranks are ended. Remove the call, or use isolation="process".'
            )
        crew.part()


_finalize_key: int | None = None
_count = itertools.count()
_crews: list[tuple[Any, Crew]] = []
_of_runner: Crew | None = None


def crew_of(comm: Any, root: int) -> Crew:
    """Return the crew of a communicator. The first call makes it, and all its ranks must make that call together.

    Raises:
        BackendError: it has only one rank, the ranks run different versions, or this rank runs jobs on it.
        BadArgument: `comm` is not an intracommunicator, or `root` is not one of its ranks.
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
        return _usable(_of_runner)
    for known, crew in _crews:
        # After a Free, the same handle may stand for other ranks.
        if known == comm and crew.root == root and MPI.Comm.Compare(comm, crew.work) == MPI.CONGRUENT:
            return _usable(crew)
    crew = Crew(comm, root)
    _crews.append((comm, crew))
    return crew


def _usable(crew: Crew) -> Crew:
    """Return the crew, unless this rank runs jobs on it: what it would open waits for the root, which waits for it."""
    if crew.server is not None and crew.server.is_serving:
        raise BackendError(
            f"Rank {crew.rank} runs jobs of an evaluator on these MPI ranks, so a run-function can open neither an "
            'evaluator nor a storage on them. Give it another backend, such as "process"; the storage of its own '
            "evaluator is `job.storage`."
        )
    return crew


def one_rank_only(mpi: Any, command: str) -> str:
    """Return the message for a program in which MPI has only one rank."""
    tasks = launched_tasks()
    start = f"mpirun -n {max(4, tasks)} {command}"
    if tasks == 1 or mpi.COMM_WORLD.size > 1:
        return (
            "There is only one MPI rank, so no rank could run the jobs. Start the program with one rank for the search "
            f"and one or more for the jobs: {start}"
        )
    library = " ".join(mpi.Get_library_version().split("\n")[0].rstrip(",\0").split())
    return (
        f"The launcher has started {tasks} tasks, and each of them is an MPI program of one rank: launcher and MPI "
        f"library do not match. The library is {library}. Start the program by this library's mpirun ({start}), or let "
        "Slurm use its protocol: srun --mpi=pmi2 for MPICH, MVAPICH and Intel MPI, srun --mpi=pmix for Open MPI (srun "
        "--mpi=list lists them). MPI4PY_LIBMPI=/path/to/libmpi.so selects another library."
    )


def runner_crew(comm: Any) -> Crew:
    """Make the crew of `python -m evalpool.mpi`, which all evaluators of the script use."""
    global _of_runner
    _of_runner = Crew(comm, 0)
    return _of_runner


def crew_named(key: str) -> Crew | None:
    """Return the crew with this key, or None if this process is not in it."""
    return next((crew for crew in _all_crews() if crew.key == key), None)


def _all_crews() -> list[Crew]:
    return [crew for _, crew in _crews] + ([] if _of_runner is None else [_of_runner])


def has_runner() -> bool:
    """Whether only the root runs the script."""
    return _of_runner is not None
