"""The MPI backend: the ranks of a communicator are the workers, and get jobs by point-to-point messages.

::

    root: caller's thread        root: who does the I/O                 a serving rank
      Pool.run ──jobs────────────────────────────────────────────work──► main thread: unpickle, call
                                   outcome, record ◄───────────reports── a frame each
      inbox ◄──── report ◄───────┘
                                   stop, steal back, close ────orders──► a thread that polls every few ms

It is the pool of `evalpool.backends._pool` with a launcher of ranks (`_launcher`) and a transport of messages
(`_transport`). `_evaluator` has the arguments, `_rank` the code of a serving rank; `evalpool._mpi` has the
communicators and the polling for messages.
"""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.backends._mpi._evaluator import MPICommEvaluator as MPICommEvaluator

__getattr__, __dir__, __all__ = attach(__name__, {"MPICommEvaluator": "_evaluator"})
