from __future__ import annotations

import importlib.util
import subprocess

import pytest

from services import missing

from .engines import ENGINES, Engine


@pytest.fixture(scope="session", params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each MPI library; missing ones skip, and fail in CI."""
    engine = ENGINES[request.param]
    try:
        if importlib.util.find_spec("mpi4py") is None:
            raise FileNotFoundError("mpi4py")
        engine.install()
    except (subprocess.SubprocessError, FileNotFoundError) as error:
        missing(engine.name, error)
    return engine
