"""Tells a worker where the program's code comes from, before it unpickles anything.

::

    program                                 worker
      origin = describe() ---- once ------->  adopt(origin, ours=...)
      task, configurations ---------------->  pickle.loads(...): finds modules, and classes of the script

An engine sends `describe()` with the task (`WorkerSetup.origin` of `evalpool.evaluator._worker_setup`), and the
worker calls `adopt` before it unpickles the task:

- ``adopt(origin, ours=True)`` in a process that serves only evalpool: a worker of `process`, an actor, a helper, a rank
  of MPI that `python -m evalpool.mpi` started. From then on its `__main__` represents the program's script, its
  `sys.argv` is the program's, and it imports from the program's path first.
- ``adopt(origin, ours=False)`` in any other process: one of a foreign pool, or a rank that runs the same script itself.
  Its `__main__` keeps the names that it has, and it imports from its own path first.

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
    """Return what a worker must know of this program's code. Takes some milliseconds."""
    from evalpool.worker._by_value import tables

    arguments = [each for each in getattr(sys, "argv", []) if isinstance(each, str)]
    return pickle.dumps((_process(), understood_path(), tables(), arguments))


def adopt(origin: bytes, ours: bool) -> None:
    """In a worker: make imports, and names of the script, work as in the program.

    Args:
        origin: from `describe` in the program.
        ours: whether this process serves only evalpool.
    """
    process, path, tables, arguments = pickle.loads(origin)
    if process != _process():
        if ours:
            sys.argv[:] = arguments
        extend_path(path, first=ours)
        adopt_script(tables, ours)


def _process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()
