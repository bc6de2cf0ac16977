"""The rows of the view `jobs` are the folds of their jobs' events, whoever wrote those, and in which commits."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from evalpool.errors import StorageError
from evalpool.storage import Event, SQLiteStorage
from evalpool.storage._codec import encode
from evalpool.storage._columns import Columns
from evalpool.storage._sqlite_rows import KnownRows

HISTORY: list[list[Event]] = [
    [
        Event("created", "0", 0, {"args": {"x": 1}, "submit": 0.0, "owner": "a"}),
        Event("created", "0", 1, {"args": {"x": 2}, "submit": 0.0, "owner": "a"}),
    ],
    [Event("started", "0", 0, {"start": 1.0, "attempt": 1}), Event("started", "0", 1, {"start": 1.0, "attempt": 1})],
    [Event("queued", "0", 0, {"attempt": 2, "owner": "b"})],
    [Event("started", "0", 0, {"start": 2.0, "attempt": 2}), Event("in", "0", 1, {"args": {"x": 3}, "kwargs": None})],
    [Event("finished", "0", 0, {"status": "DONE", "objective": 1.5, "attempts": 1, "attempt": 1})],
    [Event("finished", "0", 1, {"status": "DONE", "objective": 2.5, "attempts": 1})],
    [Event("finished", "0", 0, {"status": "DONE", "objective": 3.5, "attempts": 2})],
    [Event("gathered", "0", 0, {"timestamp_gather": 4.0}), Event("out", "0", 1, {"out": {"objective": 9}})],
    [Event("gathered", "0", 0, {"timestamp_gather": 5.0}), Event("metadata", "0", 1, {"note": "late"})],
]


def rows_of(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT * FROM jobs ORDER BY number").fetchall()


def test_the_rows_are_the_same_whoever_writes_which_part(tmp_path: Path) -> None:
    """A client that goes by what it wrote itself would miss what another wrote in between."""
    found = []
    for count in (1, 2, 3):
        path = tmp_path / f"{count}.db"
        with SQLiteStorage(path) as first, SQLiteStorage(path) as second, SQLiteStorage(path) as third:
            first.create_new_search()
            seen = []
            for turn, events in enumerate(HISTORY):
                (first, second, third)[turn % count].append(events)
                seen.append(rows_of(path))
            found.append(seen)
    assert found[0][-1][0][3:5] == ("DONE", 3.5)
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_the_rows_are_right_after_a_commit_that_failed(tmp_path: Path) -> None:
    with SQLiteStorage(tmp_path / "whole.db") as storage:
        storage.create_new_search()
        for events in HISTORY:
            storage.append(events)
    path = tmp_path / "results.db"
    with SQLiteStorage(path, timeout=0.01) as storage:
        storage.create_new_search()
        for events in HISTORY:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StorageError, match="locked"):
                    storage.append(events)
            storage.append(events)
        assert rows_of(path) == rows_of(tmp_path / "whole.db")


def columns_of(*events: Event) -> Columns:
    columns = Columns.of(events, encode)
    assert columns is not None
    return columns


def test_the_file_is_asked_for_a_job_once_and_not_for_one_that_is_gathered() -> None:
    asked: list[tuple[str, int]] = []

    def earlier(db: Any, key: tuple[str, int], last: int) -> list[tuple[int, Event]]:
        asked.append(key)
        return [(1, HISTORY[0][0])]

    known = KnownRows(earlier)
    last = 1
    for events in ([HISTORY[1][0]], [HISTORY[4][0]], [HISTORY[7][0]], [HISTORY[8][0]]):
        known.begin((last, 7))
        changed = list(known.add(None, columns_of(events[0]), last))
        assert [row.created for row in changed] == [1]
        last += 1
        known.end(changed, (last, 7))
    assert asked == [("0", 0)] * 2, "at first, and again once it was gathered"


def test_the_file_is_never_asked_for_a_job_that_was_created_here() -> None:
    def earlier(db: Any, key: tuple[str, int], last: int) -> list[tuple[int, Event]]:
        raise AssertionError(key)

    known = KnownRows(earlier)
    last = 0
    for events in (HISTORY[0], [HISTORY[1][0]], [HISTORY[4][0]], [HISTORY[7][0]]):
        known.begin((last, 7))
        changed = list(known.add(None, columns_of(*events), last))
        assert (changed[0].created, changed[0].job.owner) == (1, "a")
        last += len(events)
        known.end(changed, (last, 7))


def test_nothing_is_known_of_a_file_that_another_has_written_to() -> None:
    known = KnownRows(lambda db, key, last: [(1, HISTORY[0][0])])
    known.begin((1, 0))
    known.end(known.add(None, columns_of(HISTORY[1][0]), 1), (2, 0))
    for last, content in ((3, 0), (2, 1)):
        known.begin((last, content))
        [row] = known.add(None, columns_of(HISTORY[4][0]), last)
        assert row.job.started is None, "the start is not among what the file said"
        known.end([row], (2, 0))


def test_a_checkpoint_of_ours_makes_nobody_read_the_file_again(tmp_path: Path) -> None:
    """It changes the file itself, as a backup does that someone copies over it; the last event tells them apart."""
    statements: list[str] = []
    with SQLiteStorage(tmp_path / "results.db") as storage:
        storage.create_new_search()
        storage.append(HISTORY[0])
        db = storage._writing._db
        assert db is not None
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        db.set_trace_callback(statements.append)
        storage.append(HISTORY[4])
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        storage.append(HISTORY[7])
        db.set_trace_callback(None)
        assert storage.load_record("0.0").timestamp_gather == 4.0
    assert statements, "nothing was traced"
    assert not [one for one in statements if "search_id =" in one and "events" in one]
