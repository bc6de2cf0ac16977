"""Who started this process as one of several, and what its own children must not take over from that.

A launcher (mpirun, srun, mpiexec of PBS) tells each rank by environment variables who it is and where its launcher
listens. A child that inherits them and initialises MPI, by an import of h5py or petsc4py, takes itself for the rank: it
joins the parent's job a second time, and one of the two dies or hangs. Without them MPI initialises in it as in a
program that was started by hand: one rank, alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

__all__ = ["as_no_rank", "child_environment", "launched_tasks"]

_RANK = (
    "PMI_RANK", "PMI_FD", "PMI_PORT", "PMI_ID", "PMI2_RANK", "PMIX_RANK", "PMIX_NAMESPACE", "OMPI_COMM_WORLD_RANK",
    "MPI_LOCALRANKID", "MV2_COMM_WORLD_RANK", "PALS_RANKID", "ALPS_APP_PE", "SLURM_STEP_ID", "SLURM_STEPID",
)  # fmt: skip
"""A process that has one of these is a rank, or below one."""
_IDENTITY = (
    "PMI_", "PMI2_", "PMIX_", "OMPI_", "ORTE_", "PRTE_", "HYDI_", "HYDRA_", "MPI_LOCAL", "MPIR_CVAR_PMI", "MV2_COMM_",
    "MPISPAWN_", "PALS_", "ALPS_APP_",
    # Of a step of Slurm. What tells of the allocation stays: srun works in a child.
    "SLURM_STEP", "SLURM_PMI", "SLURM_SRUN_COMM_", "SLURM_MPI_TYPE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_GTIDS",
    "SLURM_TASK_PID", "SLURM_LAUNCH_NODE_",
)  # fmt: skip
"""Beginnings of the variables by which launchers and their ranks find each other."""
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PALS_SIZE", "SLURM_STEP_NUM_TASKS")


def child_environment(**more: str) -> dict[str, str]:
    """The environment for every process that evalpool starts: this one's, without the identity of a launcher's rank.

    Settings of an MPI library with the same beginnings (``OMPI_MCA_...``) go with it: launchers write theirs there, and
    nobody can tell which are whose. Where no launcher has started this process, they stay.

    Args:
        more: variables to set.
    """
    here: Mapping[str, str] = os.environ
    if any(name in here for name in _RANK):
        return {**{name: value for name, value in here.items() if not name.startswith(_IDENTITY)}, **more}
    return {**here, **more}


@contextlib.contextmanager
def as_no_rank() -> Iterator[None]:
    """Inside, this process's own environment is that of `child_environment`: for libraries that start processes."""
    kept = child_environment()
    hidden = {name: value for name, value in os.environ.items() if name not in kept}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def launched_tasks() -> int:
    """How many processes a launcher says that it has started beside and with this one; 1 if there is none."""
    sizes = (os.environ.get(name, "") for name in _SIZES)
    return max((int(size) for size in sizes if size.isdecimal()), default=1)
