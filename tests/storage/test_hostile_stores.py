"""Someone else's store: whoever looks at it or goes on with it is told what is wrong, or sees it without harm."""

from __future__ import annotations

import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
import redis

from evalpool import best
from evalpool.cli._campaign import Watcher
from evalpool.errors import CorruptRecord, NewerSchema
from evalpool.storage import JournalStorage, SQLiteStorage
from evalpool.storage._journal import MARKER
from storage import readers
from storage.hostile import Row, history, hostile, journal_store, redis_store, sqlite_store
from storage.redis_server import RedisServer

SEEDS = {"sqlite": range(4), "journal": [405, 1000, 1001], "redis": range(2000, 2003)}
"""A few of each; a hundred and more were tried when this was written."""
ESCAPE = "\x1b]0;owned\x07"
ONE, FIFTY = 1_000_000, 50_000_000


def _read(store: str, folder: Path, seed: int) -> None:
    readers.commands(store, folder)
    readers.views(store)
    readers.api(store)
    if seed % 4 == 0:
        readers.plot(store, folder)
    readers.going_on(store, folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal", "redis"])
def test_fields_that_hold_anything_do_no_harm_to_readers(
    kind: str, tmp_path: Path, common_redis_server: RedisServer
) -> None:
    for seed in SEEDS[kind]:
        folder = tmp_path / str(seed)
        folder.mkdir()
        rows = hostile(seed)
        if kind == "sqlite":
            store = sqlite_store(folder / "store.db", rows)
        elif kind == "journal":
            store = journal_store(folder / "store", rows)
        else:
            common_redis_server.empty()
            with redis.Redis(unix_socket_path=common_redis_server.path) as server:
                store = redis_store(common_redis_server.url, server, rows)
        _read(store, folder, seed)


DDL = {
    "an endless view": (
        "ALTER TABLE events RENAME TO e2; CREATE VIEW events AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 "
        "FROM c) SELECT x AS id, 'value' AS kind, '0' AS search_id, NULL AS number, '{}' AS data FROM c"
    ),
    "a view that counts and gives nothing": (
        "DROP TABLE job_rows; CREATE VIEW job_rows AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) "
        "SELECT * FROM c WHERE x < 0"
    ),
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END",
    "a trigger with a hostile name": f'CREATE TRIGGER "{ESCAPE}" AFTER UPDATE ON counters BEGIN SELECT 1; END',
    "a virtual table": ("DROP TABLE events; CREATE VIRTUAL TABLE events USING fts5(id, kind, search_id, number, data)"),
    "no table": "DROP TABLE counters",
    "another column": "ALTER TABLE events ADD COLUMN x",
    "a computed column": "ALTER TABLE events ADD COLUMN x TEXT GENERATED ALWAYS AS (hex(zeroblob(900000000)))",
    "columns without types": (
        "DROP TABLE events; CREATE TABLE events (id INTEGER PRIMARY KEY, kind, search_id, number, data)"
    ),
    "numbers of events that are text": (
        "DROP TABLE events; CREATE TABLE events (id TEXT PRIMARY KEY, kind TEXT NOT NULL, search_id TEXT NOT NULL, "
        "number INTEGER, data TEXT NOT NULL)"
    ),
    "a later schema": "PRAGMA user_version = 2147483647",
    "a counter that is text": "UPDATE counters SET next = 'abc'",
    "the largest counter": "UPDATE counters SET next = 9223372036854775807",
    "a negative counter": "UPDATE counters SET next = -5",
    "a fractional counter": "UPDATE counters SET next = 0.5",
    "the largest number of an event": "UPDATE events SET id = 9223372036854775807 WHERE id = 12",
    "negative numbers of events": "UPDATE events SET id = -id",
    "bytes that are no text": "UPDATE events SET data = CAST(x'fffe7b' AS TEXT) WHERE id > 5",
    "blobs": "UPDATE events SET data = x'7b7d', kind = x'00' WHERE id > 5",
    "rows that are no rows": "UPDATE job_rows SET status = 7, attempts = 'x', owner = x'ff'",
}


@pytest.mark.parametrize("ddl", DDL.values(), ids=DDL)
def test_a_database_of_another_form_is_refused_or_read(ddl: str, tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "store.db", history())
    db = sqlite3.connect(store)
    db.executescript(ddl)
    db.close()
    _read(store, tmp_path, 1)


def test_a_view_that_takes_a_tables_place_while_a_program_looks_is_refused(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "store.db", history())
    with SQLiteStorage(store) as storage:
        assert len(storage.results()) == 7
        db = sqlite3.connect(store)
        db.executescript(DDL["an endless view"])
        db.close()
        with pytest.raises(CorruptRecord, match="views or triggers"):
            storage.results()


@pytest.mark.slow
def test_damaged_bytes_of_a_database_are_told(tmp_path: Path) -> None:
    whole = Path(sqlite_store(tmp_path / "whole.db", history())).read_bytes()
    rng = random.Random(3)
    for number in range(40):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 3, 30])):
            # The first page holds the schema; of the others each holds a table.
            damaged[rng.randrange(16, 4096 if number % 2 else len(whole))] = rng.randrange(256)
        store = tmp_path / f"{number}.db"
        store.write_bytes(damaged)
        readers.call(lambda store=store: SQLiteStorage(store, timeout=1).close())
        readers.command("status", str(store))
        readers.api(str(store))


@pytest.mark.slow
def test_values_of_fifty_megabytes_are_never_shown_whole(tmp_path: Path) -> None:
    rows = history()
    rows[-1:] = [
        Row("created", "0", 7, {"args": {"x": "a" * FIFTY}}),
        Row("started", "0", 7, {"start": 1.0, "worker": ESCAPE + "w" * ONE}),
        Row(
            "finished", "0", 7, {"status": "FAILED", "objective": "F" + "b" * FIFTY, "error": ESCAPE * 1000 + "c" * ONE}
        ),
        Row("value", "0" * ONE, None, {}),
        Row("k" * ONE, "0", 1, {}),
    ]
    store = sqlite_store(tmp_path / "store.db", rows)
    readers.command("status", store)
    readers.command("show", store, "7", most=200_000)
    readers.views(store)


def test_a_number_beyond_all_floats_is_the_best(tmp_path: Path) -> None:
    rows = [*history(), Row("created", "0", 7, {"args": {"x": 1}})]
    rows.append(Row("finished", "0", 7, {"status": "DONE", "objective": 10**400, "timestamp_end": 2.0}))
    store = sqlite_store(tmp_path / "store.db", rows)
    with SQLiteStorage(store) as storage:
        assert best(storage.results())[0].objective == 10**400
        watcher = Watcher(storage)
        watcher.look()
    assert watcher.campaigns["0"].summary()["standing"] == {"best": "1.0000e+400"}
    readers.commands(store, tmp_path)
    readers.plot(store, tmp_path)


def test_half_a_surrogate_pair_is_written_out_in_every_table(tmp_path: Path) -> None:
    rows = [*history(), Row("created", "0", 7, {"args": {"file": "caf\udce9.txt"}})]
    store = sqlite_store(tmp_path / "store.db", rows)
    with SQLiteStorage(store) as storage:
        assert storage.load_job("0.7")["in"]["args"] == {"file": "caf\udce9.txt"}
        storage.to_parquet(tmp_path / "out.parquet")
        assert storage.to_dataframe()["p:file"].iloc[-1] == "caf\\udce9.txt"
        storage.to_csv(tmp_path / "out.csv")
    assert pandas.read_parquet(tmp_path / "out.parquet")["p:file"].iloc[-1] == "caf\\udce9.txt"
    assert pandas.read_csv(tmp_path / "out.csv")["p:file"].iloc[-1] == "caf\\udce9.txt"


@pytest.mark.parametrize("schema", [3, 10**6, 2**53])
def test_a_search_of_a_later_version_is_refused_each_time(schema: int, tmp_path: Path) -> None:
    rows = [*history(), Row("search", "1", None, {"start": 1.0, "schema": schema})]
    store = sqlite_store(tmp_path / "store.db", rows)
    with SQLiteStorage(store) as storage:
        for look in (storage.results, Watcher(storage).look):
            for _ in range(2):  # the first refusal leaves nothing behind that the second look stumbles over
                with pytest.raises(NewerSchema, match=f"schema {schema}"):
                    look()
    _read(store, tmp_path, 1)


def test_files_of_a_journal_that_are_none_are_told(tmp_path: Path) -> None:
    store = Path(journal_store(tmp_path / "runs", history()))
    os.mkfifo(store / "writers" / "pipe.log")
    (store / "writers" / "zero.log").symlink_to("/dev/zero")
    (store / "writers" / f"{ESCAPE}@²/²/².log").mkdir(parents=True)
    (store / "writers" / "x@y,²,9~0.log").write_bytes(b"0" * 8 + b" " + b"9" * 5000 + b" []\n")
    (store / "numbers" / "0" / "0").symlink_to("9" * 4000 + ":x")
    readers.commands(str(store), tmp_path)
    readers.going_on(str(store), tmp_path)


def test_what_is_no_log_hides_no_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Path(journal_store(tmp_path / "runs", history()))
    with JournalStorage(store) as storage:
        expected = storage.results("0")
    writers = store / "writers"
    (writers / "directory.log").mkdir()
    (writers / "nothing.log").symlink_to("nowhere")
    (writers / "circle.log").symlink_to("circle.log")
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()
        os.chdir(writers)  # the name of a socket is short
        try:
            listener.bind("socket.log")
        finally:
            os.chdir(before)
    caplog.clear()
    with JournalStorage(store) as storage:
        assert storage.results("0") == expected
        assert storage.results("0") == expected
    assert len(expected) == 7
    told = [record.getMessage() for record in caplog.records]
    for name in ("directory", "nothing", "circle"):
        assert sum(f"{name}.log is not a record of evalpool: it is not a regular file" in line for line in told) == 1


@pytest.mark.parametrize("marker", ["pipe", "device", "directory"])
def test_a_journal_whose_marker_is_no_file_is_refused(marker: str, tmp_path: Path) -> None:
    store = Path(journal_store(tmp_path / "runs", history()))
    path = store / MARKER
    path.unlink()
    if marker == "pipe":
        os.mkfifo(path)
    elif marker == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(CorruptRecord, match=f"{MARKER} is not a valid evalpool journal"):
        JournalStorage(str(store))
    readers.commands(str(store), tmp_path)


@pytest.mark.parametrize(
    "commands",
    [
        [("SET", "{evalpool}:log", "x")], [("SET", "{evalpool}:counters", "x")],
        [("SET", "{evalpool}:schema", "9" * 5000)],
        [("SET", "{evalpool}:schema", ESCAPE)], [("HSET", "{evalpool}:counters", "0", "abc")],
        [("HSET", "{evalpool}:counters", "0", "9" * 300)], [("HSET", "{evalpool}:counters", "0", "-5")],
        [("XADD", "{evalpool}:log", "18446744073709551615-18446744073709551615", "events", "[]")],
        [("XADD", "{evalpool}:log", "*", ESCAPE, b"\xff")], [("XADD", "{evalpool}:log", "*", "events", b"\xff")],
        [("HSET", "{evalpool}:writers", "x", ESCAPE)],
    ],
    ids=lambda commands: " ".join(map(ascii, commands[0]))[:50],
)  # fmt: skip
def test_a_server_that_holds_something_else_is_told(
    commands: list[tuple[Any, ...]], tmp_path: Path, common_redis_server: RedisServer
) -> None:
    common_redis_server.empty()
    with redis.Redis(unix_socket_path=common_redis_server.path) as server:
        store = redis_store(common_redis_server.url, server, history())
        for command in commands:
            if command[0] == "SET":
                server.delete(command[1])
            server.execute_command(*command)
    readers.command("status", store)
    readers.api(store)
    readers.going_on(store, tmp_path)


@pytest.mark.slow
def test_the_command_in_a_terminal_says_what_is_wrong_in_a_line(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "store.db", [*history(), Row("search", ESCAPE, None, {"start": 1.0, "schema": 1})])
    for ddl, code, said in [("SELECT 1", 0, "search 0"), (DDL["an endless view"], 1, "not a table")]:
        db = sqlite3.connect(store)
        db.executescript(ddl)
        db.close()
        for arguments in (["status", store], ["watch", store]):
            done = subprocess.run([sys.executable, "-m", "evalpool", *arguments], capture_output=True, timeout=60)
            assert done.returncode == code
            text = (done.stdout + done.stderr).decode()
            readers.check_text(text)
            assert "Traceback" not in text
            assert said in text or code == 0


@pytest.mark.slow
def test_values_of_megabytes_are_shortened_in_json_and_whole_in_exports(tmp_path: Path) -> None:
    large = "a" * 5 * ONE
    rows = [*history(), Row("created", "0", 7, {"args": {"x": large, "y": [1] * 100_000, "k" * ONE: 1, "lr": 0.25}})]
    rows.append(Row("recorded", "0", 7, {"budget": 1, "objective": [0.5] * 100_000}))
    for note in ("metadata", "error"):
        rows.append(Row("metadata", "0", 7, {note: large}))
    end = {"status": "DONE", "objective": 9.0, "output": {"note": large}, "attempt_errors": ["e" * ONE, "short"]}
    rows.append(Row("finished", "0", 7, {**end, "timestamp_end": 2.0}))
    rows.append(Row("started", "0", 4, {"start": 1.0}))
    rows.append(Row("recorded", "0", 4, {"budget": "b" * ONE, "objective": "o" * ONE}))
    store = sqlite_store(tmp_path / "store.db", rows)
    for arguments in (["status", store], ["show", store, "7"]):
        out = subprocess.run([sys.executable, "-m", "evalpool", *arguments, "--json"], capture_output=True, timeout=60)
        assert len(out.stdout) < 200_000
        known = json.loads(out.stdout)
        configuration = known["best"]["configuration"] if arguments[0] == "status" else known["configuration"]
        text, mark = configuration["x"][:5000], configuration["x"][-50:]
        assert text == "a" * 5000
        assert mark.endswith(" characters more, see evalpool export")
        assert configuration["lr"] == 0.25  # what is short is whole, also behind what is long
    assert known["attempt_errors"][1] == "short"
    readers.command("export", store, "-o", str(tmp_path / "out.jsonl"))
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["configuration"]["x"] == large for line in lines][-1]
