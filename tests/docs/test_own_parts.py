"""The backend and the storage that the pages write keep their contracts: the pages' own files, run by pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import ROOT, blocks_of, script_of

PAGES = ["writing-a-backend.md", "writing-a-storage.md"]


def bound() -> list[tuple[str, str, list[str]]]:
    """Each test module that a page shows: the page, the module that it tests, its lines."""
    found = []
    for page in PAGES:
        for block in blocks_of((ROOT / "docs" / page).read_text("utf-8")):
            if "a test module" in block.before:
                name = re.search(r"as (\w+)\.py", block.before)
                assert name is not None
                found.append((page, name[1], block.lines))
    return found


def test_each_page_binds_a_contract() -> None:
    assert {page for page, _, _ in bound()} == set(PAGES)


@pytest.mark.slow
@pytest.mark.timeout(600)  # the contract starts a hundred workers, which takes half a minute, or four on a busy machine
@pytest.mark.parametrize(("page", "name", "lines"), bound(), ids=[name for _, name, _ in bound()])
def test_what_a_page_writes_keeps_the_contract_that_it_binds(
    page: str, name: str, lines: list[str], tmp_path: Path
) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    (tmp_path / f"{name}.py").write_text(script_of(text), "utf-8")
    (tmp_path / f"test_{name}.py").write_text("\n".join(lines), "utf-8")
    assert passed(tmp_path, "-m", "not slow") > 40, "the suite was not collected"
    if any("survives_crashes = True" in line for line in lines):
        assert passed(tmp_path, "-k", "says_how_it_died") == 5


def passed(directory: Path, *which: str) -> int:
    """Run some tests of a directory, and return how many there were."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", *which]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stdout
    number = re.search(r"(\d+) passed", result.stdout)
    assert number is not None
    return int(number[1])


def test_a_complete_backend_is_short_and_uses_public_names_only() -> None:
    text = (ROOT / "docs" / "writing-a-backend.md").read_text("utf-8")
    block = next(block for block in blocks_of(text) if any("(Backend)" in line for line in block.lines))
    assert len(block.lines) <= 25
    assert not re.search(r"[\s.]_\w", "\n".join(block.lines))
