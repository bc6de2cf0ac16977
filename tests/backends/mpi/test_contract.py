"""The contract of backends and of storages, on real ranks: pytest itself runs on the root."""

from __future__ import annotations

from pathlib import Path

import pytest

from .engines import ROOT, Engine

SUITE = Path(__file__).with_name("contract_suite.py")


CHOSEN = {
    "mpich": "TestRanks or MPIStorage or hang or crash or timeout or kill or unpicklable or records or memory or retr",
    "openmpi": "TestRanks or MPIStorage",
}
"""All of the contracts on the ranks themselves; of isolation, which no library can change, what it is there for."""


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_ranks_keep_the_contracts_of_backends_and_storages(engine: Engine) -> None:
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
        "-k",
        CHOSEN[engine.name],
    ]
    ended = engine.run(5, "-m", "evalpool.mpi", "-m", "pytest", *options, str(SUITE), cwd=ROOT, bound=180)
    assert ended.code == 0, ended.out + ended.err
    assert " passed" in ended.out
