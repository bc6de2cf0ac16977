"""Small programs as users write them, each run as it would be at a prompt: it prints what its first lines promise.

A program's docstring says what a user expects and ends in ``Prints:`` and the lines themselves, indented. To add one,
write it here; it runs in a folder of its own that holds only it. What needs a cluster, a server, root or a clock has
its programs in `tests/backends`, `tests/resume`, `tests/storage`, `tests/faults` and `tests/net`.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import evalpool

PROGRAMS = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.name.startswith("test_"))
BOUND = 60.0
"""Seconds after which a program hangs; each takes a few."""


def promised(program: Path) -> str:
    """What the docstring says that it prints."""
    text = ast.get_docstring(ast.parse(program.read_text()), clean=True) or ""
    _, found, lines = text.partition("\nPrints:\n\n")
    assert found, f"the docstring of {program.name} does not end in what it prints"
    return textwrap.dedent(lines).strip()


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_prints_what_its_first_lines_promise(program: Path, tmp_path: Path) -> None:
    script = shutil.copy(program, tmp_path)
    root = str(Path(evalpool.__file__).parents[1])
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EVALPOOL"))}
    # The command `evalpool` is that of this interpreter, as in an environment that is activated.
    variables |= {"PYTHONPATH": root, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND,
        start_new_session=True,
    )
    assert done.stdout.strip() == promised(program), done.stderr
    assert done.returncode == 0, done.stderr
