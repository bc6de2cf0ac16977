"""What a child process knows of the launcher that started its parent."""

from __future__ import annotations

import pytest

from evalpool._launchers import child_environment, launched_tasks

ALLOCATION = {"SLURM_JOB_ID": "17", "SLURM_JOB_END_TIME": "1", "SLURM_NTASKS": "4", "SLURM_CPUS_ON_NODE": "8"}
BY_HAND = {"OMPI_MCA_pml": "ob1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "PRTE_MCA_rmaps_default_mapping_policy": "slot"}
RANKS = [
    {"PMI_RANK": "1", "PMI_SIZE": "3", "PMI_FD": "7", "HYDI_CONTROL_FD": "8", "MPI_LOCALRANKID": "1"},
    {
        "PMIX_RANK": "1",
        "PMIX_NAMESPACE": "a",
        "PMIX_SERVER_URI41": "b",
        "OMPI_COMM_WORLD_RANK": "1",
        "PRTE_LAUNCHED": "1",
    },
    {"SLURM_STEP_ID": "0", "SLURM_STEPID": "0", "SLURM_PROCID": "2", "SLURM_LOCALID": "2", "SLURM_SRUN_COMM_PORT": "9"},
    {"PALS_RANKID": "3", "PALS_SIZE": "8", "PMI_CONTROL_PORT": "1"},
]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(child_environment()):
        if name.startswith(("SLURM", "PMI", "OMPI", "PRTE", "PALS", "MPI_", "HYDI")):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("rank", RANKS)
def test_a_child_of_a_rank_is_told_of_the_allocation_and_of_no_rank(
    bare: pytest.MonkeyPatch, rank: dict[str, str]
) -> None:
    before = child_environment()
    for name, value in {**ALLOCATION, **rank}.items():
        bare.setenv(name, value)
    assert child_environment(MORE="1") == {**before, **ALLOCATION, "MORE": "1"}


def test_where_no_launcher_started_us_its_settings_stay(bare: pytest.MonkeyPatch) -> None:
    before = child_environment()
    for name, value in {**ALLOCATION, **BY_HAND, "SLURM_PROCID": "0"}.items():
        bare.setenv(name, value)
    assert child_environment() == {**before, **ALLOCATION, **BY_HAND, "SLURM_PROCID": "0"}


@pytest.mark.parametrize("told", [{"PMI_SIZE": "4"}, {"OMPI_COMM_WORLD_SIZE": "4"}, {"SLURM_STEP_NUM_TASKS": "4"}])
def test_the_launcher_says_how_many_it_started(bare: pytest.MonkeyPatch, told: dict[str, str]) -> None:
    assert launched_tasks() == 1
    for name, value in told.items():
        bare.setenv(name, value)
    assert launched_tasks() == 4
