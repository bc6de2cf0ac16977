"""Stores as a hostile program would write them: of a usual search, some fields have values that no reader expects."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import redis

from evalpool.storage import JournalStorage, RedisStorage, SQLiteStorage
from evalpool.storage._journal_files import JournalWriter

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\x00‮"
LARGE = 300_000

TEXTS = [
    "", ESCAPES, "F" + ESCAPES, "caf\udce9.txt", "$\\frac{", "=cmd|' /C calc'!A0", "[bold]x[/", "a\r\nb\tc", "<script>",
    "x" * LARGE, "F" + "y" * LARGE, "\n" * LARGE, ESCAPES * 1000, "²", "Traceback (most recent call last):\n" + ESCAPES,
    '  File "' + ESCAPES + '", line 3, in ' + ESCAPES + "\nE: " + ESCAPES,
]  # fmt: skip
NUMBERS = [
    0, -1, True, 10**400, -(10**400), 10**4000, 2**53, 2**63 - 1, 2**64, 1e308, -1e308, 5e-324, -0.0, 1e15, -1e15,
    {"$float": "nan"}, {"$float": "inf"}, {"$float": "-inf"}, {"$float": 3}, {"$float": ESCAPES},
]  # fmt: skip


def _nested(depth: int) -> Any:
    value: Any = ESCAPES
    for level in range(depth):
        value = [value] if level % 2 else {ESCAPES: value}
    return value


OTHERS = [
    None, [], {}, [1, 2], [10**400, 1.0], [1.0, {"$float": "nan"}], [[1, 2], 3], [1, "F"], ["x", {}], [0.5] * 40,
    {"objective": 1}, {"objective": ESCAPES, "": {}}, {ESCAPES: ESCAPES, "caf\udce9": "caf\udce9"}, _nested(60),
    _nested(150), [1.0] * 50_000,
]  # fmt: skip
VALUES = TEXTS + NUMBERS + OTHERS
NUMBERS_OF_JOBS = [None, -1, 0.5, "0", True, 2**53, 2**53 + 1, 2**63 - 1, 10**400, [], ESCAPES]

OWNER = "0" * 32 + "@nowhere/1/1"


class Row(NamedTuple):
    """An event that was not checked; `data` is a value, or bytes as they are."""

    kind: Any
    search: Any
    number: Any
    data: Any


def history() -> list[Row]:
    """A search as evalpool writes it: jobs that ended in each way, one that runs, one that waits."""
    rows = [
        Row("search", "0", None, {"start": 1e9, "schema": 1}),
        Row(
            "value",
            "0",
            None,
            {
                "job_type": "hpo",
                "max_evals": 9,
                "minimize": False,
                "run_function": "f:run",
                "origin": {"function": "f:run", "path": "/f.py", "source": "0", "space": "/s", "digest": "0"},
            },
        ),
        Row("lease", "0", None, {"owner": OWNER, "expires": 1e9}),
    ]
    place = {"worker": "worker-0", "host": "node", "pid": 7, "owner": OWNER}
    for number in range(6):
        rows.append(
            Row(
                "created",
                "0",
                number,
                {"args": {"x": 0.5, "f": "a"}, "kwargs": {}, "submit": 0.1, "owner": OWNER},
            )
        )
        if number == 5:
            continue
        rows.append(Row("started", "0", number, {"start": 1.0, "attempt": 1, **place}))
        rows.append(Row("recorded", "0", number, {"budget": 1, "objective": 0.5, "attempt": 1}))
        if number == 4:
            continue
        end = {
            "status": "DONE",
            "objective": 0.5,
            "metadata": {"virtual_worker": 1},
            "attempts": 1,
            "attempt": 1,
            **place,
        }
        end |= {
            "timestamp_start": 1.0,
            "timestamp_end": 2.0 + number,
            "stopped_early": False,
            "output": {"objective": 0.5},
        }
        if number == 1:
            end |= {"status": "FAILED", "objective": "F_raised", "error": "ValueError: no", "kind": "raised"}
            end |= {"attempt_errors": ["ValueError: no"]}
        if number == 2:
            end |= {"objective": [1.0, 2.0], "output": None}
        rows.append(Row("finished", "0", number, end))
        rows.append(Row("gathered", "0", number, {"timestamp_gather": 3.0}))
    rows.append(Row("created", "0", 6, {"options": {"priority": 1, "job_timeout": 60.0, "tags": ["warm"]}}))
    rows.append(Row("in", "0", 6, {"args": {"x": 1}, "kwargs": None}))
    rows.append(Row("metadata", "0", 6, {"note": "a"}))
    rows.append(Row("out", "0", 6, {"out": 0.25}))
    rows.append(Row("status", "0", 6, {"status": "DONE"}))
    rows.append(Row("queued", "0", 5, {"attempt": 2, "owner": OWNER}))
    return rows


def hostile(seed: int) -> list[Row]:
    """The history with some hostile fields; the same for the same seed."""
    rng = random.Random(seed)
    rows = history()
    for _ in range(rng.choice([1, 2, 4, 12, 25])):
        which = rng.randrange(len(rows))
        row = rows[which]
        what = rng.random()
        if what < 0.05:
            row = row._replace(kind=rng.choice([*TEXTS, None, 7, b"\xff"]))
        elif what < 0.1:
            row = row._replace(search=rng.choice([*TEXTS, None, 7, b"\xff", "../../etc", "0.1", "12" * 90]))
        elif what < 0.2:
            row = row._replace(number=rng.choice(NUMBERS_OF_JOBS))
        elif what < 0.25:
            row = row._replace(
                data=rng.choice([b"\xff\xfe", b"{", b"[" * 5000, b"1" * 5000, b"NaN", b"{}" * 9, *VALUES])
            )
        elif isinstance(row.data, dict):
            data = json.loads(json.dumps(row.data))
            _spoil(data, rng)
            row = row._replace(data=data)
        rows[which] = row
    return rows


_ANYTHING = (
    "objective", "output", "args", "x", "metadata", "virtual_worker", "out", "note", "run_function", "function",
    "space", "max_evals", "job_type", "minimize",
)  # fmt: skip
"""Fields in which evalpool itself keeps values of every kind."""


def _spoil(data: dict[str, Any], rng: random.Random) -> None:
    key = rng.choice([*data, *(name for name in _ANYTHING if name in data), ESCAPES])
    inner = data.get(key)
    if isinstance(inner, dict) and inner and rng.random() < 0.7:
        _spoil(inner, rng)
    elif key in _ANYTHING or rng.random() < 0.2:
        data[key] = rng.choice(VALUES)
    elif isinstance(inner, str):
        data[key] = rng.choice(TEXTS)
    elif isinstance(inner, list):
        data[key] = [rng.choice(TEXTS)] * rng.choice([1, 3])
    else:
        data[key] = rng.choice(NUMBERS)


def text_of(value: Any) -> bytes:
    """What stands in a store for these data."""
    return value if isinstance(value, bytes) else json.dumps(value).encode("ascii")


def sqlite_store(path: Path, rows: list[Row]) -> str:
    """Write an SQLite file; returns its path."""
    SQLiteStorage(path).close()
    db = sqlite3.connect(path)
    for row in rows:
        data = text_of(row.data)
        as_text = data.decode() if data.isascii() else data
        try:
            db.execute("INSERT INTO events VALUES (NULL, ?, ?, ?, ?)", (*map(_column, row[:3]), as_text))
        except sqlite3.IntegrityError:  # NULL, which the table itself refuses
            continue
    db.execute("INSERT OR IGNORE INTO counters VALUES ('0', 7)")
    db.commit()
    db.close()
    return str(path)


def _column(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, int) and abs(value) >> 63:
        return str(value)
    return value if isinstance(value, (int, float, bytes, type(None))) else str(value)


def journal_store(path: Path, rows: list[Row]) -> str:
    """Write a journal; returns its directory."""
    with JournalStorage(path) as storage:
        storage.create_new_search()
    writer = JournalWriter(str(path / "writers"), OWNER, sync_each=False)
    writer.write([b"[%d,[%s]]" % (clock, _item(row)) for clock, row in enumerate(rows, 1)])
    writer.close()
    return str(path)


def redis_store(url: str, server: redis.Redis, rows: list[Row]) -> str:
    """Write into a server; returns its URL."""
    RedisStorage.from_url(url).close()
    for row in rows:
        server.xadd("{evalpool}:log", {"events": b"[%s]" % _item(row)})
    server.hset("{evalpool}:counters", "0", "7")
    return url


def _item(row: Row) -> bytes:
    kind, search, number = (json.dumps(repr(part) if isinstance(part, bytes) else part).encode() for part in row[:3])
    return b"[%s,%s,%s,%s]" % (kind, search, number, text_of(row.data).replace(b"\n", b" "))
