"""A worker as a child of this process: a fresh interpreter that inherits its sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from evalpool._descriptors import make_room
from evalpool._interpreter import interpreter
from evalpool._launchers import child_environment
from evalpool.backends._pool._held import make_page, view_page
from evalpool.backends._pool._lend import can_lend
from evalpool.backends._pool._sockets import Connection
from evalpool.worker._path import boot_text, understood_path

if TYPE_CHECKING:
    from evalpool.backends._pool._pool_worker import PoolWorker

__all__ = ["DESCRIPTORS", "Child", "child"]

DESCRIPTORS = 17
"""Free descriptors that starting a worker needs at most. Five stay open: three sockets, its standard error, and one
that shows its end."""
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

_BOOT = (
    "import gc, os, sys; gc.disable(); "  # until `main` freezes what was imported: nothing of it is garbage
    "sys.path[:] = bytes.fromhex(os.environ.pop('EVALPOOL_SYS_PATH')).decode('utf-8', 'surrogatepass').split(chr(0)); "
    "from evalpool.backends._pool._worker import main; main({data}, {control}, {lender}, {page})"
)


class Child(NamedTuple):
    """How to start a worker as a child: its command, its environment, and the numbers of the files that it inherits."""

    command: list[str]
    environment: dict[str, str]
    files: list[int]


@contextlib.contextmanager
def child(worker: PoolWorker, threads: int) -> Iterator[Child]:
    """Yield how to start a worker. The block starts it; after that, `worker` is connected to it.

    The child's ends of the sockets are closed here after the block.

    Args:
        worker: the pool's worker that is to be started.
        threads: the number of threads of BLAS and OpenMP in it, unless the user's environment sets them.
    """
    with sockets(threads) as (each, connection):
        yield each
        worker.link = connection


@contextlib.contextmanager
def sockets(threads: int) -> Iterator[tuple[Child, Connection]]:
    """Yield how to start a child, and the connection to it. For users of a child without a pool."""
    make_room(DESCRIPTORS)
    environment = {name: str(threads) for name in THREAD_VARIABLES}
    environment.update(child_environment())
    environment["EVALPOOL_SYS_PATH"] = boot_text(understood_path())
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:

        def pair() -> tuple[socket.socket, int]:
            one, other = socket.socketpair()
            ours.enter_context(one)
            theirs.enter_context(other)
            one.setblocking(True)  # even if the program has called `socket.setdefaulttimeout`
            other.setblocking(True)
            return one, other.fileno()

        data, its_data = pair()
        control, its_control = pair()
        lender, its_lender = pair() if can_lend() else (None, -1)
        its_page = make_page()
        if its_page >= 0:
            theirs.callback(os.close, its_page)
        boot = _BOOT.format(data=its_data, control=its_control, lender=its_lender, page=its_page)
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        files = [fd for fd in (its_data, its_control, its_lender, its_page) if fd >= 0]
        connection = Connection(data, control, lender)
        yield Child([interpreter(), *flags, "-c", boot], environment, files), connection
        connection.page = view_page(its_page)  # now, as the child takes longer to start than this
        ours.pop_all()  # the owner of the connection closes them from now on
