"""What users' type checkers are told: mypy on a small program. The examples are checked with the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "tests" / "typing" / "public.py"

pytestmark = pytest.mark.slow


def mypy(*paths: str) -> str:
    """Its output, strict and with the settings of the project, whose cache it shares."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--no-pretty", "--hide-error-context", *paths],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=115,
    )
    assert done.stderr == ""
    return done.stdout


def test_a_program_gets_the_types_that_it_says() -> None:
    expected = {
        number: line.partition("  # ")[2]
        for number, line in enumerate(PROGRAM.read_text("utf-8").splitlines(), 1)
        if "reveal_type(" in line
    }
    revealed, wrong = {}, []
    for line in mypy(str(PROGRAM)).splitlines():
        found = re.match(r'.*?:(\d+): note: Revealed type is "(.*)"$', line)
        if found:
            revealed[int(found[1])] = _short(found[2])
        else:
            wrong.append(line)
    assert wrong == []  # an error that is not expected, or an expected one that is none
    assert revealed == expected


def _short(text: str) -> str:
    """Without modules, and with the unions of today: ``builtins.list[Any]`` is ``list[Any]``."""
    text = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)
    return re.sub(r"^Union\[(.*)\]$", lambda union: " | ".join(re.split(r", (?![^\[]*\])", union[1])), text)
