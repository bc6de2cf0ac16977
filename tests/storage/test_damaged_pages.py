"""An SQLite file with damaged pages: what does not stand on them is read, and what does is said."""

import logging
import sqlite3
from pathlib import Path

import pytest

from evalpool.errors import CorruptRecord
from evalpool.storage import Event, SQLiteStorage

JOBS = 200


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with SQLiteStorage(tmp_path / "results.db") as storage:
        search = storage.create_new_search(start=1_700_000_000.0)
        for first in range(storage.reserve(search, JOBS), JOBS, 20):
            numbers = range(first, first + 20)
            storage.append([Event("created", search, n, {"args": {"x": n, "text": 200 * "a"}}) for n in numbers])
            storage.append(
                [Event("finished", search, n, {"status": "DONE", "objective": n, "attempts": 1}) for n in numbers]
            )
    return tmp_path / "results.db"


def _pages_of_events(path: Path) -> tuple[int, list[int]]:
    """The size of a page, and the pages that hold rows of events, in their order."""
    with path.open("rb") as file:
        head = file.read(100)
    size = int.from_bytes(head[16:18], "big")
    db = sqlite3.connect(path)
    try:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()
    finally:
        db.close()
    data = path.read_bytes()
    page = data[(root - 1) * size : root * size]
    assert page[0] == 5, "the table has one level of pages above its rows"
    cells = [int.from_bytes(page[12 + 2 * n : 14 + 2 * n], "big") for n in range(int.from_bytes(page[3:5], "big"))]
    return size, [int.from_bytes(page[cell : cell + 4], "big") for cell in cells] + [int.from_bytes(page[8:12], "big")]


def _damage(path: Path, size: int, pages: list[int]) -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)


@pytest.mark.parametrize("which", [[0], [3], [-1], [2, 7], [4, 5]])
def test_damaged_pages_hide_no_job_that_is_elsewhere(
    path: Path, which: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    size, pages = _pages_of_events(path)
    db = sqlite3.connect(path)
    rows = db.execute("SELECT id, kind, number FROM events ORDER BY id").fetchall()
    db.close()
    _damage(path, size, [pages[n] for n in which])
    with caplog.at_level(logging.WARNING, "evalpool"), SQLiteStorage(path) as storage:
        events, _ = storage.read(None)
        objectives = {record.number: record.objective for record in storage.records("0")}
    read = {(event.kind, event.number) for event in events}
    lost = [row for row in rows if (row[1], row[2]) not in read]
    assert 0 < len(lost) <= len(which) * size / 30, "no more than what those pages hold"
    whole = {n for _, _, n in rows if n is not None} - {n for _, _, n in lost}
    assert {n: objectives[n] for n in whole} == {n: n for n in whole}
    assert len(whole) > JOBS / 2
    said = [record.getMessage() for record in caplog.records]
    assert any("its page is damaged" in text and str(path) in text for text in said)
    assert all(any(f"0.{number}" in text for text in said) for number in {row[2] for row in lost} - {None})


def test_damage_is_raised_where_that_was_asked(path: Path) -> None:
    size, pages = _pages_of_events(path)
    _damage(path, size, [pages[3]])
    with (
        SQLiteStorage(path, on_malformed="raise") as storage,
        pytest.raises(CorruptRecord, match=r"events \d+ to \d+ \(of jobs 0\.\d+"),
    ):
        storage.load_all_job_ids("0")
