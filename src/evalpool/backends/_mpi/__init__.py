"""The MPI backend: the ranks of a communicator are the workers, over point-to-point messages of our own.

::

    root: caller's thread        root: who does the I/O                 a serving rank
      _dispatch_all ──jobs───────────────────────────────────────work──► main thread: unpickle, call
                                   outcome, record ◄───────────reports── a frame each
      inbox ◄──── _report_all ◄──┘
                                   stop, withdraw, close ──────orders──► a thread that looks every few ms

`_evaluator` has the hooks, `_root` the root's side, `_rank` what a serving rank does; `evalpool._mpi` has the
communicators and how one waits where nothing wakes. Frames, windows and withdrawal are those of
the process backend (`evalpool.backends._pool._ahead`, `_process._wire`, `_process._worker`).
"""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.backends._mpi._evaluator import MPICommEvaluator as MPICommEvaluator

__getattr__, __dir__, __all__ = attach(__name__, {"MPICommEvaluator": "_evaluator"})
