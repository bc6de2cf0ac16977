"""How text that may come from anybody is shown: the one function between a store and a terminal.

What a job, a file or another program has written may hold control characters, which a terminal obeys, halves of
surrogate pairs, which no encoding knows, and more characters than anybody reads.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

__all__ = ["LONGEST_LINE", "LONGEST_MESSAGE", "brief", "printable", "shown"]

LONGEST_LINE = 300
"""Characters of a line that stands for a whole value."""
LONGEST_MESSAGE = 2000
"""Characters of an error message."""


def printable(text: str, most: int | None = None) -> str:
    """Without control characters: a terminal must not do what a result says.

    Args:
        text: any text, of any length.
        most: characters that are kept of it; None for all.
    """
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"  # first: to look at all of a text of 50 MB takes seconds
    return text if text.isprintable() else "".join(char if char.isprintable() else "�" for char in text)


def shown(value: object, most: int = 100) -> str:
    """A value of a record in a message: its repr, or its beginning; never raises for a JSON value."""
    if isinstance(value, (str, bytes)) and len(value) > most:
        value = value[:most]  # the repr of all of it would be made for nothing
    try:
        return printable(repr(value), most)
    except (ValueError, RecursionError):  # a number of more digits than Python prints, or lists nested too deeply
        return f"<{type(value).__name__}>"


def brief(value: Any, digits: int = 5) -> str:
    """A number in some digits, a whole number beyond all floats too."""
    try:
        return f"{value:.{digits}g}"
    except OverflowError:
        return f"{Decimal(value):.{digits}g}"
