"""The contract of backends and of storages, on real ranks: pytest itself runs on the root."""

from __future__ import annotations

from pathlib import Path

import pytest

from .engines import ROOT, Engine

SUITE = Path(__file__).with_name("contract_suite.py")


QUICK = "TestRanks"
"""On the second library: what is specific to isolation does not depend on it."""


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_ranks_keep_the_contract_of_backends(engine: Engine) -> None:
    options = ("-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    if engine.name != "mpich":
        options = (*options, "-k", QUICK)
    ended = engine.run(5, "-m", "evalpool.mpi", "-m", "pytest", *options, str(SUITE), cwd=ROOT, bound=180)
    assert ended.code == 0, ended.out + ended.err
    assert " passed" in ended.out
