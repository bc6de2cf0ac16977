"""The MPI backend: the ranks of a communicator are the workers, over point-to-point messages of our own.

::

    root: caller's thread        root: who does the I/O                 a serving rank
      Pool.run ──jobs────────────────────────────────────────────work──► main thread: unpickle, call
                                   outcome, record ◄───────────reports── a frame each
      inbox ◄──── report ◄───────┘
                                   stop, steal back, close ────orders──► a thread that looks every few ms

It is the pool of `evalpool.backends._pool` with a launcher of ranks (`_launcher`) and a transport of messages
(`_transport`). `_evaluator` has the arguments, `_rank` what a serving rank does; `evalpool._mpi` has the communicators
and how one waits where nothing wakes.
"""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.backends._mpi._evaluator import MPICommEvaluator as MPICommEvaluator

__getattr__, __dir__, __all__ = attach(__name__, {"MPICommEvaluator": "_evaluator"})
