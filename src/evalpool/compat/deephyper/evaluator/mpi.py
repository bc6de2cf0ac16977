"""`MPI` of mpi4py, as programs import it from `deephyper.evaluator.mpi`: its import does not initialise MPI.

An `MPICommEvaluator` does, or the program by ``MPI.Init_thread()``.
"""

from evalpool.errors import MissingExtra

try:
    import mpi4py

    mpi4py.rc.initialize = False
    mpi4py.rc.finalize = True  # else ranks end without, and mpirun kills those that are still there
    from mpi4py import MPI
except (ImportError, RuntimeError) as error:  # mpi4py, or a library of MPI
    raise MissingExtra.of("evalpool.compat.deephyper.evaluator.mpi needs mpi4py and a library of MPI", "mpi") from error

__all__ = ["MPI"]
