"""Numbers, times, colours and long values as they are written for people."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from evalpool._checks import as_float
from evalpool._text import LONGEST_LINE, brief
from evalpool._text import printable as clean

__all__ = [
    "MOST", "clean", "cut", "duration", "example_of", "for_browser", "in_colour", "line_of", "number", "paint",
    "pretty", "rate", "short", "short_tags", "shortened", "write_json",
]  # fmt: skip

MOST = 20_000
"""Characters of one value that are shown, to people and by --json; `evalpool export` writes all of it."""
MOST_NUMBERS = 20
"""The most numbers of an objective that are shown."""

_WHERE = ", see evalpool export"

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


def number(value: Any) -> str:
    """An objective with five digits, several numbers in brackets; a text or many numbers are cut."""
    if isinstance(value, (tuple, list)):
        more = ", …" if len(value) > MOST_NUMBERS else ""
        return clean("(" + ", ".join(map(number, value[:MOST_NUMBERS])) + more + ")", LONGEST_LINE)
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >> 64):
        return brief(value)
    return clean(str(value), LONGEST_LINE)


def duration(seconds: float) -> str:
    """Seconds in the two largest units: ``3.2 s``, ``4 min 10 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def rate(per_second: float) -> str:
    """A rate in the unit in which it is at least one, or per day."""
    for unit, seconds in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:.3g}/{unit}"
    return f"{per_second * 86_400:.3g}/d"


def short(configuration: Any, width: int = 100) -> str:
    """A configuration in one line."""
    parts, length = [], 0
    for key, value in configuration.items():
        parts.append(f"{key[:width]}={brief(value) if isinstance(value, float) else str(value)}")
        length += len(parts[-1])
        if length > width:
            break
    return clean(", ".join(parts), width)


def short_tags(tags: Iterable[str], width: int = 60) -> str:
    """Tags in one line."""
    return clean("tagged " + ", ".join(tags), width)


def in_colour(file: TextIO) -> bool:
    """Whether colours may be written to `file`; see https://no-color.org."""
    return file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, file: TextIO | None = None) -> str:
    """`text` in a style, if `file` (stdout if None) can show it."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if in_colour(file or sys.stdout) else text


def line_of(summary: dict[str, Any]) -> str:
    """The state of a search in one line, from a `Campaign.summary`."""
    jobs = summary["jobs"]
    of = f" of {summary['total']}" if summary["total"] is not None else ""
    parts = [f"search {summary['search_id']}", summary["state"], f"{summary['evaluated']}{of} evaluated"]
    if jobs["running"]:
        parts.append(f"{jobs['running']} running")
    if jobs["waiting"]:
        parts.append(f"{jobs['waiting']} waiting")
    if jobs["failed"]:
        parts.append(f"{jobs['failed']} failed")
    if summary["stopped_early"]:
        parts.append(f"{summary['stopped_early']} stopped early")
    parts += [f"{name} {value}" for name, value in summary["standing"].items()]
    if summary["rate"] is not None:
        parts.append(rate(summary["rate"]))
    if summary["seconds_left"] is not None:
        parts.append(f"{duration(summary['seconds_left'])} left")
    if summary.get("trouble"):
        parts.append(clean(summary["trouble"]))
    return ", ".join(parts)


def example_of(example: dict[str, Any], width: int = 200) -> str:
    """A failure of a `Campaign.summary`'s ``failure_examples``: its reason and its place, or its text."""
    place = f" ({clean(example['place'])})" if example["place"] else ""
    most = max(width - len(place), width // 2)  # a long reason is cut, not the place
    return clean(example["error"] or example["objective"], most) + place


def write_json(value: Any, file: TextIO | None = None) -> None:
    """Write one line of JSON to `file` (stdout if None); values that JSON lacks, such as infinity, become texts."""
    (file or sys.stdout).write(json.dumps(_finite(value), default=str) + "\n")


def pretty(value: Any) -> str:
    """A value of a record as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=repr)


def cut(text: str) -> str:
    """The part of a text that is shown to people; a cut is marked."""
    return text if len(text) <= MOST else f"{text[:MOST]}\n… {len(text) - MOST} characters more{_WHERE}"


def shortened(value: Any, most: int = MOST) -> Any:
    """A value of a record; if its JSON has more than `most` characters, its long parts are cut.

    Each cut is marked. A part gets at most half of the characters that are left after the parts before it, so that a
    long one does not hide short ones after it.
    """
    if _size(value, most) <= most:
        return value
    if isinstance(value, str):
        return f"{value[:most]}… {len(value) - most} characters more{_WHERE}"
    if not isinstance(value, (list, tuple, dict)):
        return value
    left = most

    def part(item: Any) -> Any:
        nonlocal left
        share = left // 2
        left -= min(_size(item, share), share) + 1
        return shortened(item, share)

    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        for key, item in value.items():
            if left <= 0:
                return {**kept, "…": f"{len(value) - len(kept)} more{_WHERE}"}
            name = part(str(key))
            kept[name] = part(item)
        return kept
    items: list[Any] = []
    for item in value:
        if left <= 0:
            return [*items, f"… {len(value) - len(items)} more{_WHERE}"]
        items.append(part(item))
    return items


def _size(value: Any, most: int) -> int:
    """About how many characters of JSON a value has; stops counting above `most`."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, int):
        return 3 + value.bit_length() // 3  # about as many digits
    if not isinstance(value, (list, tuple, dict)):
        return 20
    size = 2
    for item in value:
        size += _size(item, most - size)
        if isinstance(value, dict):
            size += _size(value[item], most - size)
        if size > most:
            break
    return size


def for_browser(value: Any) -> Any:
    """The same value in the JSON that browsers read, which has no NaN and no infinity."""
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, float)):
        return value if math.isfinite(as_float(value)) else number(value)
    if isinstance(value, (tuple, list)):
        return [for_browser(item) for item in value]
    if isinstance(value, dict):
        return {str(key): for_browser(item) for key, item in value.items()}
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value
