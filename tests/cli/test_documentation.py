"""docs/command.md shows commands that work, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "docs"))
from doc_blocks import blocks_of


@pytest.mark.slow
def test_the_commands_of_the_page_run_in_their_order_and_print_what_it_says(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "evalpool").write_text(f'#!/bin/sh\nexec {sys.executable} -m evalpool "$@"\n')
    (tools / "evalpool").chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("EVALPOOL_")}
    environment = {**kept, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    blocks = blocks_of((ROOT / "docs" / "command.md").read_text("utf-8"))
    ran = 0
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        text = "\n".join(block.lines) + "\n"
        if block.info == "python" and (name := re.match(r"# (\w+\.py)\n", text)):
            (tmp_path / name[1]).write_text(text)
        if block.info != "sh":
            continue
        done = subprocess.run(
            ["bash", "-euc", text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        ran += 1
        if following is not None and following.info == "text" and following.before == "```":
            said = "\n".join(following.lines) + "\n"
            pattern = ".*?".join(re.escape(part) for part in said.split("…"))  # … stands for anything
            assert re.fullmatch(pattern, done.stdout, re.DOTALL), f"{text}\n{done.stdout}"
    assert ran == 9
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
