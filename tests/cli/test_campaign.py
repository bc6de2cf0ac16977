"""What is shown of a search follows from its log, however it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.cli._campaign import Watcher
from evalpool.cli._main import main
from evalpool.storage import Event, MemoryStorage, SQLiteStorage

ENDS = st.sampled_from(
    [
        {"status": "DONE", "objective": 1.5},
        {"status": "DONE", "objective": 2.5},
        {"status": "DONE", "objective": "F_diverged", "kind": "returned"},
        {"status": "FAILED", "objective": "F_ValueError", "kind": "raised", "error": "Traceback"},
        {"status": "CANCELLED", "objective": "F_CANCELLED", "kind": "cancelled"},
        None,
    ]
)


def events_of(number: int, end: dict[str, Any] | None, started: bool, again: bool) -> list[Event]:
    events = [Event("created", "0", number, {"args": {"x": number}, "submit": 0.0})]
    if started:
        events.append(Event("started", "0", number, {"start": 1.0, "attempt": 1, "worker": "w"}))
    if again:
        events.append(Event("queued", "0", number, {"attempt": 2}))
    if end is not None:
        times = {"timestamp_start": 1.0, "timestamp_end": 2.0 + number, "worker": "w", "attempts": 2 if again else 1}
        events.append(Event("finished", "0", number, {**end, **times}))
    return events


@settings(deadline=None)  # the first example imports
@given(st.lists(st.tuples(ENDS, st.booleans(), st.booleans()), max_size=8), st.lists(st.integers(0, 40)), st.data())
def test_many_looks_see_what_one_look_sees(
    jobs: list[tuple[dict[str, Any] | None, bool, bool]], cuts: list[int], data: st.DataObject
) -> None:
    storage = MemoryStorage()
    storage.create_new_search(start=0.0)
    often = Watcher(storage)
    queues = [events_of(number, *job) for number, job in enumerate(jobs)]
    count = 0
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        storage.append([queue.pop(0)])
        count += 1
        if count in cuts:
            often.look()
    often.look()
    once = Watcher(storage)
    once.look()
    summary = once.campaigns["0"].summary(100.0)
    assert often.campaigns["0"].summary(100.0) == summary
    assert often.look() == {}
    ended = [end for end, _, _ in jobs if end is not None and end["status"] != "CANCELLED"]
    assert summary["evaluated"] == len(ended)
    assert summary["jobs"]["failed"] == sum("kind" in end for end in ended)
    assert sum(summary["jobs"].values()) - summary["jobs"]["all"] == summary["jobs"]["all"] == len(jobs)


def test_an_end_that_is_undone_is_not_counted() -> None:
    storage = MemoryStorage()
    storage.create_new_search(start=0.0)
    watcher = Watcher(storage)

    def at(clock: int, kind: str, data: dict[str, Any], number: int | None = 0) -> Event:
        return Event(kind, "0", number, data, (clock, "w", 0))

    storage.append([at(1, "created", {"args": {}, "owner": "a"}), at(2, "started", {"start": 0.0, "attempt": 1})])
    storage.append([at(5, "finished", {"status": "DONE", "objective": 9.0, "attempts": 1, "attempt": 1, "owner": "a"})])
    watcher.look()
    assert watcher.campaigns["0"].summary()["best"]["objective"] == 9.0
    storage.append([at(3, "queued", {"attempt": 2, "owner": "b"})])  # it was claimed before; its end came too late
    watcher.look()
    summary = watcher.campaigns["0"].summary()
    assert (summary["evaluated"], summary["best"], summary["jobs"]["waiting"]) == (0, None, 1)


def test_speed_and_end_are_those_of_the_last_minute() -> None:
    storage = MemoryStorage()
    storage.create_new_search(start=0.0)
    storage.store_search_value("0", "max_evals", 300)
    for number in range(200):
        end = number / 10 if number < 100 else 1000.0 + (number - 100)
        result = {"status": "DONE", "objective": 0.0, "timestamp_start": end, "timestamp_end": end}
        storage.append([Event("created", "0", number, {}), Event("finished", "0", number, result)])
    watcher = Watcher(storage)
    watcher.look()
    summary = watcher.campaigns["0"].summary(1099.0)
    assert 0.95 < summary["rate"] < 1.1
    assert 90 < summary["seconds_left"] < 105


def test_status_reads_the_log_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.db"
    with SQLiteStorage(path) as storage:
        for _ in range(2):
            storage.create_new_job(storage.create_new_search())
    reads: list[Any] = []
    read, read_without_details = SQLiteStorage.read, SQLiteStorage.read_without_details

    def noted(self: SQLiteStorage, after: Any) -> Any:
        reads.append(after)
        return read(self, after)

    def noted_without_details(self: SQLiteStorage) -> Any:
        reads.append("without details")
        return read_without_details(self)

    monkeypatch.setattr(SQLiteStorage, "read", noted)
    monkeypatch.setattr(SQLiteStorage, "read_without_details", noted_without_details)
    assert main(["status", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["search_id"] == "1"
    assert main(["status", str(path), "--search-id", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["search_id"] == "0"
    assert reads == ["without details"] * 2
    assert main(["status", str(path), "--search-id", "7"]) != 0
    assert "no search '7'" in capsys.readouterr().err
