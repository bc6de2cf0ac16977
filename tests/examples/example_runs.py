"""How the examples are run: as a user runs a script, with every warning an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import evalpool

EXAMPLES = Path(__file__).parents[2] / "examples"
# The evalpool under test, installed or not, from whichever directory an example is run in.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(evalpool.__file__).parents[1])}


def command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]


def run(name: str, directory: Path, *arguments: str, quiet: bool = True, **variables: str) -> str:
    """What an example prints; fails with its standard error if it fails, and unless `quiet` is false on any warning."""
    whole = command(name, *arguments)
    if not quiet:
        whole.remove("-W")
        whole.remove("error")
    done = subprocess.run(
        whole,
        cwd=directory,
        env={**ENVIRONMENT, **variables},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
