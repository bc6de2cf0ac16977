"""What the documentation shows works: its code runs, its links lead somewhere, the tests it names exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import ROOT, blocks_of, outputs_of, pages, script_of

PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "changelog.d" / "README.md", *pages()]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _with_code() -> list[Path]:
    return [page for page in pages() if any(block.runs for block in blocks_of(page.read_text("utf-8")))]


@pytest.mark.slow
@pytest.mark.parametrize("page", _with_code(), ids=_name)
def test_the_code_of_a_page_runs_as_a_script_and_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    text = page.read_text("utf-8")
    script = tmp_path / f"page_{page.stem}.py"  # optuna.py would hide what it imports
    script.write_text(script_of(text), "utf-8")
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    result = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, f"{_name(page)}:\n{result.stderr}"
    assert result.stdout == outputs_of(text)


@pytest.mark.parametrize("page", pages(), ids=_name)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    for block in blocks_of(page.read_text("utf-8")):
        if block.info.startswith("python") and not block.runs:
            assert block.info == "python no-run"
            assert re.fullmatch(r"<!-- no-run: .+ -->", block.before), f"line {block.first}: give the reason"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} in {_name(page)}"
        if anchor:
            assert anchor in _anchors(file), f"{target} in {_name(page)}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_tests_that_a_page_names_exist(page: Path) -> None:
    for file, name in re.findall(r"`((?:tests|src)/[\w/]+\.py)(?:::(\w+))?`", page.read_text("utf-8")):
        assert (ROOT / file).exists(), f"{file} in {_name(page)}"
        if name:
            assert re.search(rf"\b(def|class) {name}\b", (ROOT / file).read_text("utf-8")), f"{file}::{name}"


def test_every_decision_is_listed_once_and_has_a_number_of_its_own() -> None:
    directory = ROOT / "docs" / "decisions"
    files = sorted(path.name for path in directory.glob("[0-9]*.md"))
    listed = re.findall(r"\((\d{4}-[\w-]+\.md)\)", (directory / "README.md").read_text("utf-8"))
    assert listed == files
    assert len({name[:4] for name in files}) == len(files)


def test_fragments_have_a_kind() -> None:
    kinds = {"added", "changed", "fixed", "removed"}
    for fragment in (ROOT / "changelog.d").glob("*.md"):
        if fragment.name != "README.md":
            assert fragment.suffixes[0][1:] in kinds, fragment.name


def test_a_script_keeps_the_line_numbers_of_its_page() -> None:
    page = (
        "# Title\n\n```python\na = 1\n```\n\n"
        "<!-- no-run: shown only -->\n```python no-run\nb\n```\n```python\nc = 2\n```\n"
    )
    assert script_of(page).splitlines()[3] == "a = 1"
    assert script_of(page).splitlines()[11] == "c = 2"
    assert "b" not in script_of(page)
    assert blocks_of(page)[1].before == "<!-- no-run: shown only -->"
