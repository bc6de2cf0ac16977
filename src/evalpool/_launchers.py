"""Environment variables of MPI launchers, which children of this process must not inherit.

A launcher (mpirun, srun, mpiexec of PBS) tells each rank by environment variables its number and where the launcher
listens. If a child inherits them and initialises MPI, for example by an import of h5py or petsc4py, it acts as the
rank: it joins the parent's job a second time, and one of the two dies or hangs. Without these variables, MPI
initialises in the child as in a program that was started by hand, with one rank.
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
"""A process that has one of these variables is a rank, or was started by one."""
_IDENTITY = (
    "PMI_", "PMI2_", "PMIX_", "OMPI_", "ORTE_", "PRTE_", "HYDI_", "HYDRA_", "MPI_LOCAL", "MPIR_CVAR_PMI", "MV2_COMM_",
    "MPISPAWN_", "PALS_", "ALPS_APP_",
    # These belong to a step of Slurm. Variables of the allocation stay, so that srun works in a child.
    "SLURM_STEP", "SLURM_PMI", "SLURM_SRUN_COMM_", "SLURM_MPI_TYPE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_GTIDS",
    "SLURM_TASK_PID", "SLURM_LAUNCH_NODE_",
)  # fmt: skip
"""Beginnings of the variables by which launchers and their ranks find each other."""
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PALS_SIZE", "SLURM_STEP_NUM_TASKS")


def child_environment(**more: str) -> dict[str, str]:
    """Return the environment for a process that evalpool starts: this one's, without the identity of a launcher's rank.

    Settings of an MPI library with the same prefixes (``OMPI_MCA_...``) are removed, too, because launchers also set
    such variables, and the two cannot be distinguished. If no launcher has started this process, they stay.

    Args:
        more: variables to set.
    """
    here: Mapping[str, str] = os.environ
    if any(name in here for name in _RANK):
        return {**{name: value for name, value in here.items() if not name.startswith(_IDENTITY)}, **more}
    return {**here, **more}


@contextlib.contextmanager
def as_no_rank() -> Iterator[None]:
    """Set this process's environment to `child_environment` in a context, for libraries that start processes."""
    kept = child_environment()
    hidden = {name: value for name, value in os.environ.items() if name not in kept}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def launched_tasks() -> int:
    """Return how many processes the launcher has started, including this one; 1 without a launcher."""
    sizes = (os.environ.get(name, "") for name in _SIZES)
    return max((int(size) for size in sizes if size.isdecimal()), default=1)
