"""Checks that an SQLite file has evalpool's tables, and nothing that executes code when they are read.

Anybody may have written the file. In SQLite, a view can have the name of a table and never end, and a trigger or a
generated column computes what its author chose. So when a file is opened, each of our tables must be a table with our
columns and without triggers. While it is open, somebody may change it. So SQLite is configured to refuse all views,
triggers and recursion in our statements (`sqlite3_set_authorizer`), and to end a statement that runs for too long
without a result.
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from typing import Any

from evalpool._text import shown
from evalpool.errors import CorruptRecord

__all__ = ["Steps", "check_tables", "guard"]

_OURS = ("events", "counters", "job_rows")

_MOST_STEPS = 100_000_000
"""The most instructions of SQLite's virtual machine without a result; they take some seconds. A row takes about ten."""
_CHECK_EVERY = 1_000_000


def check_tables(db: sqlite3.Connection, path: str, statements: str) -> None:
    """Raise `CorruptRecord` unless our tables have the form that these statements give them."""
    wanted = _columns(statements)
    for name in _OURS:
        found = db.execute(
            "SELECT type, rootpage FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type != 'index'", (name,)
        ).fetchall()
        if len(found) != 1:
            raise _corrupt(path, f"it has no table {name!r}")
        ((kind, page),) = found
        if kind != "table" or not page:  # a virtual table has no page
            raise _corrupt(
                path, f"its {name!r} is a {'virtual table' if kind == 'table' else shown(kind)}, not a table"
            )
        if _columns_of(db, name) != wanted[name]:
            raise _corrupt(path, f"its table {name!r} has other columns")
    for name, table in db.execute("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"):
        if isinstance(table, str) and table.lower() in _OURS:
            raise _corrupt(path, f"its table {table!r} has the trigger {shown(name)}")


def _corrupt(path: str, reason: str) -> CorruptRecord:
    return CorruptRecord(
        f"{path} is marked as a file of evalpool, but has another form: {reason}. Another program has changed it. "
        "Nothing was changed now; open it with `sqlite3` if you trust its author."
    )


def _columns_of(db: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    return [column[1:] for column in db.execute(f"PRAGMA table_xinfo({table})")]


@lru_cache(maxsize=1)
def _columns(statements: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return, for each table: name, type, NOT NULL, default, primary key and hidden of each column."""
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(statements)
        return {name: _columns_of(db, name) for name in _OURS}
    finally:
        db.close()


class Steps:
    """Counts SQLite's instructions without a result. Call `begin` at each statement and each result."""

    def __init__(self) -> None:
        self._left = 0
        self.begin()

    def begin(self) -> None:
        """Count from 0 again."""
        self._left = _MOST_STEPS // _CHECK_EVERY

    def are_too_many(self) -> bool:
        """Whether to end the statement. SQLite calls it every `_CHECK_EVERY` instructions."""
        self._left -= 1
        return self._left < 0


def guard(db: sqlite3.Connection, steps: Steps) -> None:
    """Let SQLite refuse views, triggers and recursion, and end statements that take too many steps."""
    db.set_authorizer(_authorize)
    db.set_progress_handler(steps.are_too_many, _CHECK_EVERY)


def _authorize(action: int, first: Any, second: Any, database: Any, within: Any) -> int:
    """Return whether SQLite may compile this part of a statement; `within` names the view or trigger that has it."""
    return sqlite3.SQLITE_DENY if within is not None or action == _RECURSIVE else sqlite3.SQLITE_OK


_RECURSIVE = getattr(sqlite3, "SQLITE_RECURSIVE", 33)
