"""The python blocks of a Markdown page, as one script whose line numbers are the page's."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

__all__ = ["ROOT", "Block", "blocks_of", "outputs_of", "pages", "script_of"]

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(.*)$")


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        info: what stands behind the opening fence.
        first: index of its first line of content in the page.
        lines: its content.
        before: the last line with text before its opening fence.
    """

    info: str
    first: int
    lines: list[str]
    before: str

    @property
    def runs(self) -> bool:
        return self.info == "python"


def pages() -> list[Path]:
    """README.md and every page of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(text: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    lines = text.splitlines()
    info, first, before, last = None, 0, "", ""
    for index, line in enumerate(lines):
        fence = _FENCE.match(line)
        if fence is None:
            if info is None and line.strip():
                last = line
        elif info is None:
            info, first, before = fence.group(1).strip(), index + 1, last
        else:
            found.append(Block(info, first, lines[first:index], before))
            info, last = None, line
    return found


def script_of(text: str) -> str:
    """The blocks that run, each on the lines that it has in the page, so that a traceback names those."""
    lines = [""] * len(text.splitlines())
    for block in blocks_of(text):
        if block.runs:
            lines[block.first : block.first + len(block.lines)] = block.lines
    return "\n".join(lines) + "\n"


def outputs_of(text: str) -> str:
    """What the page says that its script prints: its ``text`` blocks which directly follow one that runs."""
    found = blocks_of(text)
    said = []
    for block, following in pairwise(found):
        if block.runs and following.info == "text" and following.before == "```":
            said += following.lines
    return "".join(line + "\n" for line in said)
