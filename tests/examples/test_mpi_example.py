"""The MPI example, on real ranks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from backends.mpi.engines import ENGINES
from services import missing

EXAMPLE = Path(__file__).parents[2] / "examples" / "mpi_search.py"


@pytest.mark.slow
def test_a_search_over_ranks_survives_crashes(tmp_path: Path) -> None:
    engine = ENGINES["mpich"]
    try:
        engine.install()
    except subprocess.SubprocessError as error:
        missing("mpich", error)
    ended = engine.run(3, "-m", "evalpool.mpi", str(EXAMPLE), cwd=tmp_path, bound=100)
    assert ended.code == 0, ended.err
    found = re.match(r"(\d+) jobs, (\d+) crashed; best (-0\.\d+)", ended.out)
    assert found, ended.out
    assert int(found[1]) >= 60
    assert int(found[2]) > 0
    alone = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, env=engine.environment(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert alone.returncode != 0
    assert "mpirun -n 4 python -m evalpool.mpi" in alone.stderr
