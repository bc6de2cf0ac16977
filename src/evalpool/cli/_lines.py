"""Lines for people that fit the terminal: they are wrapped between words, and the following lines are indented.

In a pipe or a file lines are not wrapped, so that programs can search in them, unless COLUMNS sets a width.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from typing import TextIO

__all__ = ["FACT", "fact", "say", "width_of", "wrapped"]

FACT = 14
"""The column at which the texts of `fact` begin."""
NARROWEST = 30
"""The least width to which lines are wrapped; a narrower terminal wraps them itself."""

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def say(text: str = "", indent: int = 0, file: TextIO | None = None) -> None:
    """Write a line to `file` (stdout if None); if it is wrapped, `indent` columns come before each further line."""
    file = file or sys.stdout
    file.write("".join(f"{line}\n" for line in wrapped(text, width_of(file), indent)))


def fact(name: str, text: str) -> None:
    """Write a named fact to stdout."""
    say(f"  {name:<{FACT - 3}} {text}", FACT)


def width_of(file: TextIO) -> int | None:
    """The columns of a terminal; None if lines may have any length."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(file.fileno()).columns or None
    except (OSError, ValueError):  # no terminal, or no file of the system at all
        return None


def wrapped(text: str, width: int | None, indent: int = 0) -> list[str]:
    """`text` in lines of at most `width` columns, wrapped between words if the words are not too long themselves."""
    width = None if width is None else max(width, NARROWEST)
    if width is None or _columns(text) <= width:
        return [text]
    indent = min(indent, width // 2)
    lines, line = [], ""
    for part in re.findall(r" *[^ ]+| +$", text):
        if _columns(line) + _columns(part) > width and line.strip():
            lines.append(line)
            line, part = " " * indent, part.lstrip(" ")
        while _columns(line) + _columns(part) > width:
            fits = _fitting(part, width - _columns(line))
            lines.append(line + part[:fits])
            line, part = " " * indent, part[fits:]
        line += part
    return [*lines, line]


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes; styles take none."""
    if "\x1b" in text:
        text = _STYLE.sub("", text)
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _fitting(word: str, width: int) -> int:
    """How many characters of a word, one at least, fit."""
    taken = 0
    for place, char in enumerate(word):
        taken += _columns_of(char)
        if taken > width and place:
            return place
    return len(word)
