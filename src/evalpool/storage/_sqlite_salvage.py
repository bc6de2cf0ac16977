"""Reads a damaged SQLite file of evalpool: all events but those on damaged pages.

SQLite ends a query at the first damaged page that it finds. So a range of events is read forwards until the damage, and
backwards until the damage. The range between is divided, again and again, until only single events that cannot be read
are left.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from evalpool.storage._events import SCHEMA_VERSION

__all__ = ["readable_events"]

_RANGE = "SELECT id, kind, search_id, number, data FROM events WHERE id BETWEEN ? AND ? ORDER BY id"
_LAST = (
    "SELECT max(id) FROM events",
    # If the end of the table is damaged, the index and the other table still have numbers of events.
    "SELECT max(id) FROM events INDEXED BY events_of_job WHERE number IS NOT NULL",
    "SELECT max(max(coalesce(created_event, 0), coalesce(finished_event, 0))) FROM job_rows",
)
_JOBS = (
    "SELECT DISTINCT search_id, number FROM events INDEXED BY events_of_job "
    "WHERE number IS NOT NULL AND id BETWEEN ? AND ? LIMIT 200"
)

_DIVISIONS = 10_000
"""How often damaged ranges are divided before the rest counts as damaged: enough for hundreds of pages."""

Row = tuple[Any, ...]


def readable_events(
    db: sqlite3.Connection, first: int, report: Callable[[str, str], None], begin: Callable[[], None]
) -> list[Row]:
    """Return the rows of all events from number `first` on that can be read.

    Args:
        report: called with the place of each event that cannot be read, and the reason.
        begin: called before each statement.
    """

    def rows_of(statement: str, *values: int) -> tuple[list[Row], bool]:
        begin()
        return _rows(db, statement, values)

    lasts = (number for statement in _LAST for (number,) in rows_of(statement)[0])
    last = max((number for number in lasts if type(number) is int), default=0)
    found: list[Row] = []
    damaged: list[tuple[int, int]] = []
    parts = [(first, last)]
    divisions = 0
    while parts:
        low, high = parts.pop()
        rows, is_whole = rows_of(_RANGE, low, high)
        found += rows
        if is_whole:
            continue
        low = rows[-1][0] + 1 if rows else low
        rows, _ = rows_of(f"{_RANGE} DESC", low, high)
        found += rows
        high = rows[-1][0] - 1 if rows else high
        if low > high:  # all events of the range were read; the damage is beyond it
            continue
        if low == high or divisions == _DIVISIONS:
            damaged.append((low, high))
        else:
            divisions += 1
            middle = (low + high) // 2
            parts += [(low, middle), (middle + 1, high)]
    found.sort(key=itemgetter(0))
    for low, high in _joined(sorted(damaged)):
        jobs = [f"{search}.{number}" for search, number in rows_of(_JOBS, low, high)[0]]
        which = f"event {low}" if low == high else f"events {low} to {high}"
        report(f"{which} ({'of jobs ' + ', '.join(jobs) if jobs else 'of no known job'})", "its page is damaged")
    return _with_searches(found) if damaged and first == 1 else found


def _rows(db: sqlite3.Connection, statement: str, values: tuple[int, ...]) -> tuple[list[Row], bool]:
    """Return the rows before the first damage, and whether there is no damage."""
    rows: list[Row] = []
    numbered = statement.startswith(_RANGE)
    try:
        for row in db.execute(statement, values):
            # The links between damaged pages may form a circle, which would have no end.
            if numbered and (type(row[0]) is not int or (rows and not _comes_next(statement, rows[-1][0], row[0]))):
                return rows, False
            rows.append(row)
    except sqlite3.DatabaseError as error:
        if not any(reason in str(error) for reason in ("malformed", "no such index", "no query solution")):
            raise
        return rows, False
    return rows, True


def _comes_next(statement: str, before: int, number: int) -> bool:
    return number < before if statement.endswith("DESC") else number > before


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges, with adjacent ones joined."""
    joined: list[tuple[int, int]] = []
    for low, high in ranges:
        if joined and joined[-1][1] == low - 1:
            joined[-1] = joined[-1][0], high
        else:
            joined.append((low, high))
    return joined


def _with_searches(rows: list[Row]) -> list[Row]:
    """Return the rows, with a new event ``search`` for each search whose own is damaged, so that its jobs are found.

    Its start is about that of its first lease; if there is none, its times count from the epoch.
    """
    begun = {row[2] for row in rows if row[1] == "search"}
    begins: dict[str, float] = {}
    for _, kind, search_id, _, data in rows:
        if isinstance(search_id, str) and search_id not in begun and begins.get(search_id, 0.0) == 0.0:
            begins[search_id] = _lease_start(data) if kind == "lease" else 0.0
    return [
        (0, "search", search_id, None, json.dumps({"start": start, "schema": SCHEMA_VERSION}))
        for search_id, start in begins.items()
    ] + rows


def _lease_start(data: str) -> float:
    try:
        return max(float(json.loads(data)["expires"]) - 30.0, 0.0)  # what `evaluator._lease.TTL` adds
    except (ValueError, KeyError, TypeError):
        return 0.0
