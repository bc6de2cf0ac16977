"""The real deephyper: programs that run with it and with evalpool, and what they print."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from backends.mpi.engines import ENGINES, finish
from services import missing

PROGRAMS = Path(__file__).parent / "programs"
BOUND = 200.0
"""Seconds for one program: on a busy machine, the searches on Ray took 110."""


def need_deephyper() -> None:
    """Skip the test without it; in continuous integration fail."""
    if importlib.util.find_spec("deephyper") is None:
        missing("deephyper", ImportError("deephyper"))


@functools.cache
def printed(program: str, *arguments: str, ranks: int = 0, mpi: bool = True) -> list[str]:
    """The lines that a program prints; under mpirun where there are ranks.

    deephyper cannot be imported with an mpi4py that finds no library of MPI, so it is given one.
    """
    need_deephyper()
    engine = ENGINES["mpich"]
    try:
        engine.install()
    except (subprocess.SubprocessError, FileNotFoundError) as error:
        missing("mpich", error)
    command = [sys.executable, "-W", "ignore", str(PROGRAMS / program), *arguments]
    if ranks:
        command = [str(engine.mpirun), *engine.options, "-n", str(ranks), *command]
    environment = engine.environment()
    if not mpi:
        environment["MPI4PY_LIBMPI"] = "none"
    with tempfile.TemporaryDirectory() as folder:  # for what deephyper's searches write where they are
        process = subprocess.Popen(
            command, env=environment, start_new_session=True, text=True, cwd=folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        ended = finish(process, BOUND)
    assert ended.code == 0, f"{ended.out}\n{ended.err}"
    return ended.out.splitlines()
