"""The command as a user starts it, in a directory with a run-function, and storages of each kind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.browser import Browser, ensure_chromium
from services import missing
from storage.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
BOUND = 60.0

PROGRAM = '''\
"""Run-functions for the tests of the command."""

import logging
import os
import time


def run(job):
    with open("calls", "a") as file:
        file.write(f"{job['x']}\\n")
    if job["x"] == 3:
        raise ValueError("three <script>document.title = 'pwned'</script> \\x1b[31m")
    return 10 - (job["x"] - 5) ** 2


def fail(job):
    raise RuntimeError("always")


def hang(job):
    with open("calls", "a") as file:
        file.write(f"{job['x']}\\n")
    while job["x"] > 2 and not os.path.exists("go"):
        time.sleep(0.01)
    return job["x"]


def chatty(job):
    logging.getLogger("train").info("x is %s", job["x"])
    return 0.0


value = 3
'''


class Command:
    """Starts ``evalpool`` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("EVALPOOL_", "COLUMNS"))}
        self.environment = {**kept, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "error"}
        (directory / "program.py").write_text(PROGRAM)
        (directory / "grid.jsonl").write_text("".join(f'{{"x": {x}}}\n' for x in range(8)))

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run to the end, which has this exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "evalpool", *arguments],
            cwd=self.directory,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=BOUND,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr or "--debug" in arguments, done.stderr
        return done

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """In the background, as a group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "evalpool", *arguments],
            cwd=self.directory,
            env=self.environment,
            text=True,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    @property
    def calls(self) -> list[int]:
        """The x of each call of a run-function."""
        path = self.directory / "calls"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def evalpool(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture(params=["sqlite", "journal", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty storage of each kind that outlives a program."""
    if request.param == "redis":
        with RedisServer.running() as server:
            yield f"redis+unix://{server.path}"
    else:
        yield f"{request.param}:///{tmp_path}/store"


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A headless Chromium; skipped where there is none, but not in CI."""
    try:
        ensure_chromium()
    except (FileNotFoundError, subprocess.SubprocessError) as error:
        missing("a browser", error)
    with Browser.started() as found:
        yield found
