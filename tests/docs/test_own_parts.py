"""The backend and the storage that the pages write keep their contracts: the pages' own files, run by pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import ROOT, blocks_of, script_of

PAGES = ["writing-a-backend.md", "writing-a-storage.md"]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_writes_keeps_the_contract_that_it_binds(page: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    (test,) = (block for block in blocks_of(text) if "a test module" in block.before)
    name = re.search(r"as (\w+)\.py", test.before)
    assert name is not None
    (tmp_path / f"{name[1]}.py").write_text(script_of(text), "utf-8")
    (tmp_path / f"test_{name[1]}.py").write_text("\n".join(test.lines), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--rootdir", "."]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert result.returncode == 0, result.stdout
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed is not None
    assert int(passed[1]) > 40, "the suite was not collected"
