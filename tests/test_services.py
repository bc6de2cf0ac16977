"""A test that cannot run for want of a service is told of in the last lines, and fails in continuous integration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
WANTING = """
import pytest
from services import missing, package

@pytest.mark.parametrize("n", [1, 2])
def test_a_browser(n):
    missing("chromium", OSError("no such file"))

def test_a_package():
    package("a_package_that_is_not_there")

def test_neither():
    pass
"""


def last_lines(tmp_path: Path, ci: str) -> list[str]:
    (tmp_path / "test_wanting.py").write_text(WANTING)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS), "CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.splitlines()


@pytest.mark.slow
def test_what_did_not_run_is_told_by_service_in_the_last_lines(tmp_path: Path) -> None:
    lines = last_lines(tmp_path, ci="")
    told = [line for line in lines if "for want of" in line]
    assert told[0].startswith("1 tests did not run for want of a_package_that_is_not_there")
    assert told[1] == "2 tests did not run for want of chromium: no such file"
    assert lines[-1].startswith("1 passed, 3 skipped")


@pytest.mark.slow
def test_in_continuous_integration_it_fails(tmp_path: Path) -> None:
    assert last_lines(tmp_path, ci="true")[-1].startswith("3 failed, 1 passed")
