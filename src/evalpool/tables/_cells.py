"""The cells of a CSV file: values become text that can be read back exactly, and that no spreadsheet runs."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from evalpool._json import plain

__all__ = ["cell", "cells_of_any_size", "line_of", "line_of_values", "value_of"]

_DANGEROUS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""A spreadsheet runs a text that begins with these: OWASP, "CSV Injection". The last four are full width."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
_LONG_WHOLE = re.compile(r"[+-]?\d{300,}\Z")
"""A whole number that is larger than any float: ``10**400`` is an objective like others."""
_QUOTED = re.compile(r'[",\r\n]')

_LONG = 10**18
"""Whole numbers below this are written without asking whether Python prints so many digits."""
_SHORT = 100
"""Characters of a text whose cell is kept: mostly names of workers, hosts and choices, which many rows have."""


def cell(value: Any) -> str:
    """The text of a value; never raises, whatever a user's object does.

    Numbers are written so that they can be read back exactly; lists and dicts as JSON; None as an empty text.
    """
    kind = type(value)
    if kind is float:
        return repr(value)
    if kind is str:
        return _escape(value)
    if value is None:
        return ""
    if kind is bool:
        return "True" if value else "False"
    try:
        if kind is int:
            return str(value)  # inside `try`, because Python refuses to print more than 4 300 digits
        bare = plain(value, lenient=True)
        if type(bare) in (float, int, str, bool):
            return cell(bare)
        return _escape(json.dumps(bare))
    except Exception:  # noqa: BLE001  one odd value must not cost the table
        return f"<{kind.__qualname__}>"


def _escape(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run; `_unescape` takes it away.

    A text that has apostrophes before such a beginning gets one more, so that each reads back as it was.
    """
    if "\0" in text:
        text = text.replace("\0", "\\x00")  # csv readers refuse the whole file for it
    return "'" + text if _would_run(text) else text


def _unescape(text: str) -> str:
    return text[1:] if text.startswith("'") and _would_run(text) else text


def _would_run(text: str) -> bool:
    bare = text.lstrip("'")
    return bare.startswith(_DANGEROUS) and not _NUMBER.match(bare)


def line_of(cells: Iterable[str]) -> str:
    """A line of a CSV file."""
    # Not csv.writer: before Python 3.13 it leaves a lone carriage return unquoted, and readers stumble.
    return ",".join([_quoted(text) for text in cells]) + "\n"


def line_of_values(values: Iterable[Any]) -> str:
    """What `line_of` gives for the cells of these values."""
    cells = []
    for value in values:  # the commonest types here, because a call costs as much as its work
        kind = type(value)
        if kind is float:
            cells.append(repr(value))
        elif kind is str and len(value) <= _SHORT:
            cells.append(_short(value))
        elif value is None:
            cells.append("")
        elif kind is int and -_LONG < value < _LONG:
            cells.append(str(value))
        else:
            cells.append(_quoted(cell(value)))
    return ",".join(cells) + "\n"


@lru_cache(maxsize=1024)
def _short(text: str) -> str:
    return _quoted(_escape(text))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def value_of(text: str) -> Any:
    """The value of a cell's text: a number, a boolean, or a text."""
    if text in ("True", "False"):
        return text == "True"
    if len(text) < 400 and _NUMBER.match(text):
        return float(text) if any(mark in text for mark in ".eE") else int(text)
    if text in ("nan", "inf", "-inf"):
        return float(text)
    if len(text) >= 400 and _LONG_WHOLE.match(text):
        with contextlib.suppress(ValueError):  # more digits than Python reads
            return int(text)
    return _unescape(text)


@contextlib.contextmanager
def cells_of_any_size() -> Iterator[None]:
    """Inside the block, the limit of `csv` of 131 072 characters per cell, which is one of the process, is lifted."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
