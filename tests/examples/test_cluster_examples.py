"""The examples of engines beyond this process, each run as a user would."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from example_runs import run

pytestmark = pytest.mark.slow


def test_a_search_on_ray_uses_the_workers_of_the_cluster(tmp_path: Path) -> None:
    said = run("ray_search.py", tmp_path, quiet=False, RAY_AUTH_MODE="disabled")
    assert "2 workers\n" in said
    assert re.search(r"40 jobs; best -0\.\d+ at \{.*\}, by ray-[01]\n", said)


def test_a_shell_command_gives_its_result_or_the_end_of_its_standard_error(tmp_path: Path) -> None:
    lines = run("shell_command.py", tmp_path, quiet=False, RAY_AUTH_MODE="disabled").splitlines()
    assert len(lines) == 6
    assert lines[0].endswith("F_SubprocessError: the pressure is negative")
    assert lines[4] == "{'pressure': 2.0, 'angle': 0.0}: -0.0 after 17 iterations"
