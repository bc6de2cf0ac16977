"""Real MPI libraries for the tests: from their wheels, each in a folder of its own, chosen when a program starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
BOUND = 60.0
"""Seconds after which a program under mpirun is called hanging; then its processes are killed."""


class Ended(NamedTuple):
    """How a program ended."""

    code: int
    out: str
    err: str


class Engine(NamedTuple):
    """An MPI library and its launcher."""

    name: str
    prefix: Path
    library: str
    options: tuple[str, ...]  # we are root, on a machine with fewer cores than ranks

    @property
    def mpirun(self) -> Path:
        return self.prefix / "bin" / "mpirun"

    def install(self) -> None:
        """From the package index, unless it is there."""
        if self.mpirun.exists():
            return
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed"]
        subprocess.run([*pip, "--prefix", str(self.prefix), self.name], check=True, timeout=300)

    def environment(self) -> dict[str, str]:
        # Coverage, pytest's own settings and the like pass through; MPI's of an outer mpirun must not.
        own = {key: value for key, value in os.environ.items() if not key.startswith(("PMI", "OMPI", "PRTE", "MPI4PY"))}
        own["MPI4PY_LIBMPI"] = str(self.prefix / "lib" / self.library)
        own["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        own["OMPI_MCA_btl_vader_single_copy_mechanism"] = "none"  # containers forbid it, loudly
        return own

    def start(self, ranks: int, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
        """Start ``mpirun -n ranks python arguments``, in a session of its own."""
        command = [str(self.mpirun), *self.options, "-n", str(ranks), sys.executable, *arguments]
        return subprocess.Popen(
            command, cwd=cwd, env=self.environment(), start_new_session=True, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, ranks: int, *arguments: str, cwd: Path, bound: float = BOUND) -> Ended:
        """As `start`, and wait for its end."""
        return finish(self.start(ranks, *arguments, cwd=cwd), bound)


def finish(process: subprocess.Popen[str], bound: float = BOUND) -> Ended:
    """Wait for the end of a program, and see to it that nothing of it is left."""
    try:
        out, err = process.communicate(timeout=bound)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate(timeout=10)
        raise AssertionError(f"did not end within {bound} s.\n{out}\n{err}") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return Ended(process.returncode, out, err)


ENGINES = {
    "mpich": Engine("mpich", ROOT / ".venv-mpi-mpich", "libmpi.so.12", ()),
    "openmpi": Engine(
        "openmpi", ROOT / ".venv-mpi-openmpi", "libmpi.so.40", ("--allow-run-as-root", "--oversubscribe")
    ),
}
