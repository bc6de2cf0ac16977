"""A summary of a search needs fewer events than its records. SQLite gives only those; the summary is the same."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.cli._campaign import Watcher
from evalpool.storage import Event, SQLiteStorage
from evalpool.storage._codec import Malformed, decode, decode_rows

NOW = 1_000.0
PLACE = {"worker": "process-1", "host": "node", "pid": 7}
OWNERS = st.sampled_from(["a", "b"])
ATTEMPTS = st.integers(1, 3)


def event(kind: str, **data: Any) -> Any:
    return st.builds(
        lambda number, data: Event(kind, "0", number, data),
        st.integers(0, 2),
        st.fixed_dictionaries(
            {key: value for key, value in data.items() if not key.endswith("_")},
            optional={key[:-1]: value for key, value in data.items() if key.endswith("_")},
        ),
    )


EVENTS = st.one_of(
    event("created", args=st.just({"x": 1}), submit=st.just(0.0), owner=OWNERS, options_=st.just({"tags": ["t"]})),
    event("started", start=st.just(1.0), attempt=ATTEMPTS, worker_=st.just("process-2"), owner_=OWNERS),
    event("queued", attempt=ATTEMPTS, owner_=OWNERS),
    event("recorded", budget=st.just(1.0), objective=st.just(2.0), attempt_=ATTEMPTS),
    event("status", status=st.sampled_from(["RUNNING", "CANCELLED"])),
    event("gathered", timestamp_gather=st.just(4.0)),
    event("out", out=st.just({"objective": 8.0})),
    event(
        "finished", status=st.sampled_from(["DONE", "FAILED", "CANCELLED"]), attempts=st.integers(0, 3),
        objective_=st.sampled_from([1.5, 2.5, "F_raised"]), timestamp_end_=st.just(3.0), owner_=OWNERS,
        worker_=st.sampled_from(["process-1", None]), kind_=st.sampled_from(["raised", "worker_died"]),
    ),
)  # fmt: skip


def summary(storage: SQLiteStorage, **kwargs: Any) -> Any:
    watcher = Watcher(storage, **kwargs)
    watcher.look()
    assert watcher.look() == {}
    campaign = watcher.latest()
    assert campaign is not None
    return campaign.summary(now=NOW)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(EVENTS, min_size=1, max_size=6), max_size=6))
def test_a_summary_is_the_same_with_and_without_details(history: list[list[Event]]) -> None:
    with TemporaryDirectory() as directory, SQLiteStorage(Path(directory) / "s.db") as storage:
        storage.create_new_search(start=0.0)
        for events in history:
            storage.append(events)
        assert summary(storage, summaries_only=True) == summary(storage)
        assert summary(storage, tags=["t"], summaries_only=True) == summary(storage, tags=["t"])


def test_of_a_job_that_ended_two_of_four_events_are_read(tmp_path: Path) -> None:
    with SQLiteStorage(tmp_path / "s.db") as storage:
        storage.create_new_search()
        for number in range(50):
            storage.append([Event("created", "0", number, {"args": {"x": number}, "submit": 0.0, "owner": "a"})])
            storage.append([Event("started", "0", number, {"start": 1.0, "attempt": 1, **PLACE})])
            storage.append([Event("finished", "0", number, {"status": "DONE", "attempts": 1, **PLACE})])
            storage.append([Event("gathered", "0", number, {"timestamp_gather": 4.0})])
        events, cursor = storage.read_without_details()
        assert [one.kind for one in events] == ["search", *["created", "finished"] * 50, "gathered"]  # always the last
        assert storage.read(cursor) == ([], cursor)
        assert cursor == storage.read(None)[1]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
UNUSUAL = [
    *('{"args":NaN}', '{"args":"\\ud800"}', '{"args":Infinity}', '{"submit":NaN}', '{"args":{"$float":"nan"}}'),
    *('{"args":1e999}', "", "{", "[]", '{"args":1}{', '{"owner":1}', '{"a":1,"a":2}', '{"status":"GONE"}'),
    *(None, 1, b"{}"),
]
TEXTS = st.one_of(
    VALUES.map(json.dumps),
    st.builds(lambda key, value: json.dumps({key: value}), st.sampled_from(["args", "submit", "status"]), VALUES),
    st.sampled_from(UNUSUAL),
)
ROWS = st.lists(
    st.tuples(
        st.integers(1, 9),
        st.sampled_from(["created", "finished", "value", "nonsense", None, b"created"]),
        st.sampled_from(["0", "1", "", "a\n", None]),
        st.sampled_from([0, 1, -1, 2**60, 1.0, None]),
        TEXTS,
    )
)


@settings(deadline=None)
@given(ROWS)
def test_rows_that_are_decoded_together_are_decoded_as_one_by_one(rows: list[tuple[Any, ...]]) -> None:
    expected: list[Any] = []
    for row in rows:
        try:
            expected.append(decode(*row[1:]))
        except Malformed as error:
            expected.append((row, str(error)))
    refused: list[Any] = []
    events = decode_rows(rows, lambda row, error: refused.append((row, str(error))))
    assert repr(events) == repr([one for one in expected if isinstance(one, Event)])
    assert repr(refused) == repr([one for one in expected if not isinstance(one, Event)])
