"""Where the program's code comes from, told to a worker before the first thing is unpickled there.

::

    program                                 worker
      origin = describe() ---- once ------->  adopt(origin, ours=...)
      task, configurations ---------------->  pickle.loads(...): finds modules, and classes of the script

An engine sends `describe()` with the task (`WorkerSetup.origin` of `evalpool.evaluator._worker_setup`), and the
worker calls `adopt` before it unpickles the task:

- ``adopt(origin, ours=True)`` in a process that serves evalpool alone: a worker of `process`, an actor, a helper, a
  rank of MPI that `python -m evalpool.mpi` brought up. Its `__main__` stands for the program's script from then on,
  its `sys.argv` is the program's, and it imports from the program's path first.
- ``adopt(origin, ours=False)`` in any other process: a pool's, or a rank that runs the same script itself. Names that
  its `__main__` has stay, and it imports from its own path first.

What goes to a worker is pickled by `evalpool.worker._pickling.dump` or `dump_whole`, and what comes back with
``back=True``.
In the program's own process `adopt` does nothing.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys

from evalpool.worker._path import extend_path, understood_path
from evalpool.worker._script import adopt as adopt_script

__all__ = ["adopt", "describe"]


def describe() -> bytes:
    """What a worker needs to know of this program's code; some milliseconds."""
    from evalpool.worker._by_value import tables

    arguments = [each for each in getattr(sys, "argv", []) if isinstance(each, str)]
    return pickle.dumps((_process(), understood_path(), tables(), arguments))


def adopt(origin: bytes, ours: bool) -> None:
    """In a worker: let code mean what it means in the program.

    Args:
        origin: from `describe` there.
        ours: this process serves evalpool alone.
    """
    process, path, tables, arguments = pickle.loads(origin)
    if process != _process():
        if ours:
            sys.argv[:] = arguments
        extend_path(path, first=ours)
        adopt_script(tables, ours)


def _process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()
