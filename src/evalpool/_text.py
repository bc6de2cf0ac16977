"""How text of unknown origin is shown on a terminal.

What a job, a file or another program has written may contain control characters, which a terminal would obey, single
surrogates, which cannot be encoded, and more characters than anybody reads.
"""

from __future__ import annotations

from typing import Any

__all__ = ["LONGEST_LINE", "LONGEST_MESSAGE", "brief", "described", "printable", "shown"]

LONGEST_LINE = 300
"""Characters of a line that shows a whole value."""
LONGEST_MESSAGE = 2000
"""Characters of an error message."""


def printable(text: str, most: int | None = None) -> str:
    """Return text without control characters, which a terminal would obey.

    Args:
        text: any text, of any length.
        most: how many characters to keep; None for all.
    """
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"  # before the check, which takes seconds for a text of 50 MB
    return text if text.isprintable() else "".join(char if char.isprintable() else "�" for char in text)


def shown(value: object, most: int = 100) -> str:
    """Return a value for a message: its repr, or the beginning of it; its type if the repr raises."""
    if isinstance(value, (str, bytes)) and len(value) > most:
        value = value[:most]  # so that no long repr is made
    try:
        return printable(repr(value), most)
    except Exception:  # noqa: BLE001  as of a number of more digits than Python prints, or lists nested too deeply
        return f"<{type(value).__name__}>"


def described(error: BaseException) -> str:
    """Return the type and the text of an exception, also of the user's code, whose own methods may raise."""
    try:
        text = str(error)
    except Exception as second:  # noqa: BLE001  an exception without a text is still reported
        text = f"(its text could not be read: {type(second).__name__})"
    return f"{type(error).__name__}: {text}"


def brief(value: Any, digits: int = 5) -> str:
    """Return a number with some digits, even a whole number that is larger than any float."""
    try:
        return f"{value:.{digits}g}"
    except OverflowError:
        from decimal import Decimal  # here, because each worker would import it

        return f"{Decimal(value):.{digits}g}"
