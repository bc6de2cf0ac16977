"""What an SQLite file must be before anything of it is believed: our tables, and nothing that runs when they are read.

Anybody may have written the file. In SQLite a view can stand in the place of a table, and never end; a trigger or a
generated column computes what its author chose. So when a file is opened each of our tables must be a table with our
columns, without triggers. For as long as it is open, in whatever way somebody changes it, SQLite is to refuse every
view, trigger and recursion in a statement of ours (`sqlite3_set_authorizer`), and to give up a statement that goes
on and on without a result.
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
"""Instructions of SQLite's machine, some seconds of them, until it gives up. A row costs about ten of them."""
_LOOK_EVERY = 1_000_000


def check_tables(db: sqlite3.Connection, path: str, statements: str) -> None:
    """Raise `CorruptRecord` unless our tables are as these statements make them."""
    wanted = _columns(statements)
    for name in _OURS:
        found = db.execute(
            "SELECT type, rootpage FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type != 'index'", (name,)
        ).fetchall()
        if len(found) != 1:
            raise _corrupt(path, f"it has no table {name!r}")
        ((kind, page),) = found
        if kind != "table" or not page:  # a virtual table has no page
            raise _corrupt(path, f"its {name!r} is a {'virtual table' if kind == 'table' else shown(kind)}, no table")
        if _columns_of(db, name) != wanted[name]:
            raise _corrupt(path, f"its table {name!r} has other columns")
    for name, table in db.execute("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"):
        if isinstance(table, str) and table.lower() in _OURS:
            raise _corrupt(path, f"the trigger {shown(name)} stands on its table {table!r}")


def _corrupt(path: str, reason: str) -> CorruptRecord:
    return CorruptRecord(
        f"{path} has the mark of evalpool and is not as evalpool makes it: {reason}. Nothing was changed. Another "
        "program has written it; open it with `sqlite3` if you know whose it is."
    )


def _columns_of(db: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    return [column[1:] for column in db.execute(f"PRAGMA table_xinfo({table})")]


@lru_cache(maxsize=1)
def _columns(statements: str) -> dict[str, list[tuple[Any, ...]]]:
    """By table: name, type, NOT NULL, default, primary key and hidden, for each column."""
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(statements)
        return {name: _columns_of(db, name) for name in _OURS}
    finally:
        db.close()


class Steps:
    """Counts what SQLite does without a result; `begin` with each statement and each result."""

    def __init__(self) -> None:
        self._left = 0
        self.begin()

    def begin(self) -> None:
        """Count from here."""
        self._left = _MOST_STEPS // _LOOK_EVERY

    def are_too_many(self) -> bool:
        """Called by SQLite, every `_LOOK_EVERY` instructions: True ends the statement."""
        self._left -= 1
        return self._left < 0


def guard(db: sqlite3.Connection, steps: Steps) -> None:
    """Let SQLite refuse views, triggers and recursion, and end what never ends."""
    db.set_authorizer(_authorize)
    db.set_progress_handler(steps.are_too_many, _LOOK_EVERY)


def _authorize(action: int, first: Any, second: Any, database: Any, within: Any) -> int:
    """Whether a part of a statement may be compiled; `within` names the view or trigger that it comes from."""
    return sqlite3.SQLITE_DENY if within is not None or action == _RECURSIVE else sqlite3.SQLITE_OK


_RECURSIVE = getattr(sqlite3, "SQLITE_RECURSIVE", 33)
