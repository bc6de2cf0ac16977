"""The site builds without a warning, holds every public name, and fetches nothing from elsewhere."""

from __future__ import annotations

import importlib
import re
import runpy
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from doc_blocks import ROOT

from services import package

pytestmark = pytest.mark.slow

ROOMS = ["analysis", "benchmarks", "callbacks", "errors", "logging", "simulation", "storage", "testing"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning fails its tests, with all of them in the message."""
    package("sphinx")
    directory = tmp_path_factory.mktemp("site")
    options = ["-q", "-W", "--keep-going", "-b", "html", "-d", str(directory / "doctrees")]
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(directory / "html")],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert result.returncode == 0, result.stderr
    return directory / "html"


def test_the_site_builds_without_a_warning(site: Path) -> None:
    assert (site / "index.html").exists()
    assert (site / "quickstart.html").exists()


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    lines = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode().splitlines()
    shown = {line.split(" ", 1)[0] for line in lines}
    evalpool = importlib.import_module("evalpool")
    missing = []
    for name in evalpool.__all__:
        homes = {f"evalpool.{name}"} | {f"evalpool.{room}.{name}" for room in ("errors", "simulation")}
        if not isinstance(getattr(evalpool, name), type(evalpool)) and not homes & shown:
            missing.append(f"evalpool.{name}")
    for room in ROOMS:
        module = importlib.import_module(f"evalpool.{room}")
        missing += [f"{module.__name__}.{name}" for name in module.__all__ if f"{module.__name__}.{name}" not in shown]
    assert missing == [], "name them in a page of docs/reference, or give them a docstring"


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    fetched = r"""(?:<(?:script|img|iframe|source)\b[^>]*\bsrc|<link\b[^>]*\bhref)=["'](?:https?:)?//[^"']*"""
    styles = r"""url\(\s*["']?(?:https?:)?//[^)]*\)|@import\s+["'](?:https?:)?//[^;]*"""
    found = []
    for file in site.rglob("*"):
        if file.suffix in (".html", ".css"):
            found += re.findall(fetched if file.suffix == ".html" else styles, file.read_text("utf-8"))
    assert found == []


def test_the_picture_of_the_readme_can_be_drawn_again(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    script = runpy.run_path(str(ROOT / "docs" / "images" / "search.py"))
    script["main"](tmp_path / "search.png")
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
