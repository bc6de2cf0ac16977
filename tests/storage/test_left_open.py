"""A storage that nobody closes: its connections are closed in order, without a warning, and its records are written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalpool.storage import SQLiteStorage

pytestmark = pytest.mark.slow

BOUND = 60.0

PROGRAM = """
import atexit, gc, os, sys
{first}
from evalpool.storage import Event, SQLiteStorage

storage = SQLiteStorage(sys.argv[1])
storage.create_new_search()
storage.append_soon([Event("created", "0", 0, {{"args": {{}}, "owner": "me"}})])
{then}
"""
FORK = """
pid = os.fork()
if pid == 0:
    {child}
    sys.exit(0)  # with all that Python does at its end
assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param("", "", id="program ends"),
        pytest.param("", "storage.flush(); del storage; gc.collect()", id="collected"),
        pytest.param("", FORK.format(child=""), id="child ends"),
        pytest.param("", FORK.format(child="storage.create_new_search()"), id="child uses it"),
        pytest.param("atexit.register(lambda: (storage.records('0'), storage.close()))", "", id="used at the very end"),
    ],
)
def test_no_connection_is_left_to_the_collector(first: str, then: str, tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(first=first, then=then), str(path)],
        env={name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"},
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    with SQLiteStorage(path) as storage:
        assert [record.number for record in storage.records("0")] == [0]
