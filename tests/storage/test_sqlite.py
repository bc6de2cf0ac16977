"""SQLiteStorage: what is its own beside the contract."""

import logging
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalpool.errors import BadArgument, CorruptRecord, NewerSchema, StorageUnavailable
from evalpool.storage import Event, SQLiteStorage, _mounts
from storage.workloads import workloads


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


@pytest.fixture
def storage(path: Path) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(path) as storage:
        yield storage


def _query(path: Path, statement: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    try:
        with db:
            return db.execute(statement).fetchall()
    finally:
        db.close()


def _job(storage: SQLiteStorage, search_id: str, **args: object) -> int:
    number = storage.reserve(search_id, 1)
    storage.append([Event("created", search_id, number, {"args": args, "submit": 0.5, "owner": "me"})])
    return number


def test_results_are_there_when_the_file_is_opened_again(path: Path) -> None:
    with SQLiteStorage(path) as storage:
        job_id = storage.create_new_job(storage.create_new_search())
        storage.store_job_out(job_id, 0.0)
    with SQLiteStorage(str(path)) as storage:
        assert storage.load_job(job_id)["out"] == 0.0
        assert storage.create_new_job("0") == "0.1"
        assert storage.latest_search() == "0"


def test_the_view_has_one_row_a_job_for_anyone_with_sqlite(storage: SQLiteStorage, path: Path) -> None:
    search_id = storage.create_new_search()
    for x in (0.1, 0.2, 0.3, 0.4):
        _job(storage, search_id, x=x)
    done = {"status": "DONE", "attempts": 1, "timestamp_start": 1.0, "timestamp_end": 2.0, "worker": "w"}
    storage.append([Event("finished", search_id, 0, {**done, "objective": 0.0, "metadata": {"gpu": 1}})])
    storage.append([Event("gathered", search_id, 0, {"timestamp_gather": 3.0})])
    storage.append([Event("finished", search_id, 1, {**done, "objective": (1.0, 2.0)})])
    storage.append([Event("finished", search_id, 2, {**done, "status": "FAILED", "objective": "F_x", "error": "boom"})])

    rows = _query(
        path,
        "SELECT job_id, status, objective, json_extract(configuration, '$.x'), timestamp_submit, timestamp_start, "
        "timestamp_gather, worker, error FROM jobs ORDER BY number",
    )

    assert rows == [
        ("0.0", "DONE", 0.0, 0.1, 0.5, 1.0, 3.0, "w", None),
        ("0.1", "DONE", "[1.0,2.0]", 0.2, 0.5, 1.0, None, "w", None),
        ("0.2", "FAILED", "F_x", 0.3, 0.5, 1.0, None, "w", "boom"),
        ("0.3", "READY", None, 0.4, 0.5, None, None, None, None),
    ]
    assert _query(path, "SELECT json_extract(metadata, '$.gpu') FROM jobs WHERE number = 0") == [(1,)]


def test_the_view_shows_options(storage: SQLiteStorage, path: Path) -> None:
    search = storage.create_new_search()
    chosen = {"priority": 2, "tags": ["warm", "b"]}
    storage.append(
        [
            Event("created", search, number, {"args": {}, **more})
            for number, more in enumerate([{}, {"options": chosen}])
        ]
    )
    assert _query(path, "SELECT number, options ->> '$.priority' FROM jobs ORDER BY number") == [(0, None), (1, 2)]
    tagged = "SELECT number FROM jobs, json_each(jobs.options, '$.tags') AS tag WHERE tag.value = 'warm'"
    assert _query(path, tagged) == [(1,)]


def test_the_view_shows_jobs_kept_by_hand(storage: SQLiteStorage, path: Path) -> None:
    job_id = storage.create_new_job(storage.create_new_search())
    storage.store_job_in(job_id, {"x": 1})
    storage.store_job_out(job_id, {"objective": 0.5})
    storage.store_job_status(job_id, "DONE")
    assert _query(path, "SELECT status, objective, configuration FROM jobs") == [("DONE", 0.5, '{"x":1}')]


def test_the_view_follows_the_rules_of_the_fold(storage: SQLiteStorage, path: Path) -> None:
    search_id = storage.create_new_search()
    _job(storage, search_id)
    storage.append([Event("queued", search_id, 0, {"attempt": 2, "owner": "heir"})])
    storage.append([Event("finished", search_id, 0, {"status": "DONE", "objective": 1.0, "attempts": 1})])
    assert _query(path, "SELECT status, attempts, owner, objective FROM jobs") == [("READY", 1, "heir", None)]
    storage.append([Event("finished", search_id, 0, {"status": "DONE", "objective": 2.0, "attempts": 2})])
    storage.append([Event("finished", search_id, 0, {"status": "FAILED", "objective": 3.0, "timestamp_gather": 9.0})])
    assert _query(path, "SELECT status, attempts, objective, timestamp_gather FROM jobs") == [("DONE", 2, 2.0, 9.0)]
    assert storage.load_record("0.0").timestamp_gather == 9.0


def test_the_json_of_a_job_stands_in_the_file_once(storage: SQLiteStorage, path: Path) -> None:
    search_id = storage.create_new_search()
    _job(storage, search_id, text="z" * 100_000)
    storage.append([Event("gathered", search_id, 0, {"timestamp_gather": 3.0})])
    storage.close()
    assert path.stat().st_size < 200_000


# -- what is not ours ------------------------------------------------------------------------------------


def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    _query(path, "CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(CorruptRecord, match="another program, with theirs"):
        SQLiteStorage(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("p:x,objective\n1,2\n")
    with pytest.raises(CorruptRecord, match="not an SQLite database"):
        SQLiteStorage(path)
    assert path.read_text() == "p:x,objective\n1,2\n"


def test_an_empty_file_becomes_a_storage(path: Path) -> None:
    path.touch()
    with SQLiteStorage(path) as storage:
        assert storage.create_new_search() == "0"


def test_a_later_schema_is_refused_with_advice(path: Path) -> None:
    SQLiteStorage(path).close()
    _query(path, "PRAGMA user_version = 99")
    with pytest.raises(NewerSchema, match=r"schema 99.*Upgrade"):
        SQLiteStorage(path)


def test_a_damaged_file_is_named(path: Path) -> None:
    with SQLiteStorage(path) as storage:
        search_id = storage.create_new_search()
        for _ in range(50):
            _job(storage, search_id, text="z" * 1000)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xaa" * (len(data) - 4096)
    path.write_bytes(data)
    with SQLiteStorage(path) as storage:
        with pytest.raises(CorruptRecord, match="damaged"):
            storage.load_all_search_ids()


MALFORMED = [
    "(1000, 'created', '0', 7, '{')",
    "(1000, 'created', '0', 7, '{\"args\": {}, \"submit\": \"import os\"}')",
    "(1000, 'exploded', '0', 7, '{}')",
    "(1000, 'created', '0', NULL, '{}')",
    "(1000, 'created', '0', -7, '{}')",
    "(1000, 'created', '0', 'seven', '{}')",
    "(1000, 'finished', '0', 7, '{\"status\": \"READY\"}')",
    "(1000, 'finished', '0', 7, '{\"timestamp_start\": NaN}')",
    "(1000, 'search', '0', NULL, '[]')",
    "(1000, 'created', '0', 7, CAST(x'7bff7d' AS TEXT))",
    "(1000, 'created', '0', 7, x'00')",
    "(1000, 'created', '0', 7, 3.5)",
]


@pytest.mark.parametrize("row", MALFORMED)
def test_a_malformed_event_is_skipped_with_its_position_or_raised(
    path: Path, row: str, caplog: pytest.LogCaptureFixture
) -> None:
    with SQLiteStorage(path) as storage:
        search_id = storage.create_new_search()
        _job(storage, search_id)
    _query(path, f"INSERT INTO events VALUES {row}")
    with SQLiteStorage(path) as storage:
        _job(storage, search_id)
        assert [record.number for record in storage.records(search_id)] == [0, 1]
        assert [record.number for record in storage.records(search_id)] == [0, 1]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert f"event 1000 of {path}" in warnings[0]
    with SQLiteStorage(path, on_malformed="raise") as storage:
        with pytest.raises(CorruptRecord, match="event 1000 of"):
            storage.records(search_id)


def test_a_trigger_that_someone_put_into_the_file_is_refused(path: Path) -> None:
    SQLiteStorage(path).close()
    _query(path, "CREATE TRIGGER evil AFTER INSERT ON events BEGIN SELECT load_extension('/tmp/evil'); END")
    with pytest.raises(CorruptRecord, match="its table 'events' has the trigger 'evil'"):
        SQLiteStorage(path)


def test_a_trigger_that_someone_adds_while_the_file_is_open_does_not_run(path: Path) -> None:
    with SQLiteStorage(path) as storage:
        storage.create_new_search()
        _query(path, "CREATE TRIGGER evil AFTER INSERT ON events BEGIN DELETE FROM events; END")
        with pytest.raises(CorruptRecord, match="triggers"):
            storage.create_new_search()
        assert storage.load_all_search_ids() == ["0"]


# -- places ------------------------------------------------------------------------------------------------


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"there is no directory .*/nowhere; make it first"):
        SQLiteStorage(tmp_path / "nowhere" / "results.db")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="is a directory"):
        SQLiteStorage(tmp_path)


@pytest.mark.parametrize("path", ["", None, 3, b""])
def test_what_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(BadArgument, match="path"):
        SQLiteStorage(path)  # type: ignore[arg-type]


def test_a_network_file_system_is_refused_with_the_advice_to_use_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    place = tmp_path / "shared dir"
    place.mkdir()
    escaped = str(place).replace(" ", "\\040")
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nfiler:/export {escaped} nfs4 rw,vers=4.2 0 0\n")
    monkeypatch.setattr(_mounts, "MOUNTS", str(mounts))
    with pytest.raises(StorageUnavailable, match=r"network file system \(nfs4\).*JournalStorage"):
        SQLiteStorage(place / "results.db")
    SQLiteStorage(tmp_path / "results.db").close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", None),
        ("/home/me/x", "lustre"),
        ("/homestead", None),
        ("/home/local/x", None),
        ("/mnt/sshfs", "fuse.sshfs"),
        ("/mnt", None),
    ],
)
def test_the_longest_mount_point_above_a_path_decides(
    path: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "overlay / overlay rw 0 0\nmds:/l /home lustre rw 0 0\n/dev/sda /home/local xfs rw 0 0\n"
        "me@host: /mnt/sshfs fuse.sshfs rw 0 0\nodd\n"
    )
    monkeypatch.setattr(_mounts, "MOUNTS", str(mounts))
    assert _mounts.network_file_system(path) == expected


# -- locks, closing -----------------------------------------------------------------------------------------


def test_a_file_that_another_program_keeps_locked_ends_in_a_clear_error(path: Path) -> None:
    with SQLiteStorage(path, timeout=0.05) as storage:
        search_id = storage.create_new_search()
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match=r"locked by another process for 0\.05 seconds"):
                storage.reserve(search_id, 1)
            with pytest.raises(StorageUnavailable, match="locked"):
                storage.append([Event("value", search_id, None, {"k": 1})])
            assert storage.load_all_search_ids() == ["0"]  # readers do not wait
            other.execute("ROLLBACK")
        finally:
            other.close()
        assert storage.reserve(search_id, 1) == 0


@pytest.mark.parametrize("timeout", [0, -1, "3", None])
def test_a_timeout_that_is_none_is_refused(path: Path, timeout: object) -> None:
    with pytest.raises(BadArgument, match="timeout"):
        SQLiteStorage(path, timeout=timeout)  # type: ignore[arg-type]


def test_an_unknown_choice_about_malformed_events_is_refused(path: Path) -> None:
    with pytest.raises(BadArgument, match="on_malformed='ignore'"):
        SQLiteStorage(path, on_malformed="ignore")  # type: ignore[arg-type]


def test_a_closed_storage_says_so(path: Path) -> None:
    storage = SQLiteStorage(path)
    storage.close()
    with pytest.raises(StorageUnavailable, match="is closed"):
        storage.create_new_search()


def test_a_copy_keeps_the_options(path: Path) -> None:
    with SQLiteStorage(path, timeout=3, on_malformed="raise") as storage:
        with pickle.loads(pickle.dumps(storage)) as copy:
            assert (copy._timeout, copy._reporter.what, repr(copy)) == (3, "raise", repr(storage))


@pytest.mark.slow
def test_processes_that_make_the_file_at_once_make_one_storage(path: Path) -> None:
    # A pickled client opens the file when it is unpickled, before its workload says that it is ready.
    with SQLiteStorage(path.with_name("other.db")) as template:
        template._path = str(path)
        with workloads(4, "make_searches", template, 5) as processes:
            ids = [line for process in processes for line in process.rest()]
    assert sorted(map(int, ids)) == list(range(20))
