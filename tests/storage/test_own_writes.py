"""What a client folds of its own writes is what a reader of the log folds."""

import math
import os
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalpool.errors import StorageError
from evalpool.storage import Event, JournalStorage, SQLiteStorage
from evalpool.storage import _own_writes as own_writes
from evalpool.storage._fold import JobState
from evalpool.storage._own_writes import OwnWrites

KINDS = ["sqlite", "journal"]


def client(kind: str, directory: Path) -> Any:
    return SQLiteStorage(directory / "results.db") if kind == "sqlite" else JournalStorage(directory / "runs")


def picture(storage: Any) -> Any:
    """All that the client has folded, with the types of numbers."""
    with storage._fold_lock:
        searches = storage._sync().searches
        return {
            search_id: (
                repr(search.values),
                search.leases,
                search.finished,
                search.unfinished,
                {
                    number: {name: repr(getattr(job, name)) for name in JobState.__slots__}
                    for number, job in search.jobs.items()
                },
            )
            for search_id, search in searches.items()
        }


class Colour(Enum):
    RED = "red"


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.sampled_from([Colour.RED, np.float32(0.1), np.int64(3), np.arange(3), 1e22, -0.0, 2**70, "\ud800", (1, 2)]),
        st.just({"$float": "nan"}),
        st.just({"$float": "none"}),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.integers(0, 2)


def event(kind: str, number: int | None, **data: Any) -> Event:
    return Event(kind, "0", number, data)


EVENTS = st.one_of(
    st.builds(lambda n, args: event("created", n, args=args, submit=1, owner="a"), NUMBERS, VALUES),
    st.builds(lambda n, attempt: event("started", n, start=2, attempt=attempt, new=1), NUMBERS, st.integers(1, 3)),
    st.builds(lambda n, budget: event("recorded", n, budget=budget, objective=1), NUMBERS, st.sampled_from([1, 1.0])),
    st.builds(lambda n, out: event("finished", n, status="DONE", output=out, timestamp_end=5), NUMBERS, VALUES),
    st.builds(lambda n, data: Event("metadata", "0", n, data), NUMBERS, st.dictionaries(st.text(), VALUES, max_size=2)),
    st.builds(lambda n: Event("metadata", "0", n, {"$float": "inf"}), NUMBERS),
    st.builds(lambda n: event("gathered", n, timestamp_gather=6), NUMBERS),
    st.builds(lambda value: event("value", None, v=value), VALUES),
    st.builds(lambda ends: event("lease", None, owner="a", expires=ends), st.integers(0, 9)),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@given(batches=st.lists(st.tuples(st.booleans(), st.booleans(), st.lists(EVENTS, max_size=5)), max_size=5))
def test_what_was_written_here_is_folded_as_whoever_reads_it_folds_it(
    kind: str, batches: list[tuple[bool, bool, list[Event]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("store")
    with client(kind, directory) as first, client(kind, directory) as second:
        first.create_new_search()
        second.load_all_search_ids()
        for by_first, looks, events in batches:
            (first if by_first else second).append_soon(events)  # never raises: what is not JSON is kept as text
            first.flush()
            second.flush()
            if looks:
                assert picture(first)
        with client(kind, directory) as reader:
            expected = picture(reader)
        assert picture(first) == picture(second) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_own_writes_are_taken_from_memory_and_only_once(kind: str, tmp_path: Path) -> None:
    with client(kind, tmp_path) as storage:
        storage.create_new_search()
        storage.load_all_search_ids()
        storage.append([event("created", n, args={"x": math.nan}, owner="a") for n in range(10)])
        data = storage._own._parts[-1].fields[3]
        assert len(storage.load_all_job_ids("0")) == 10
        assert storage._state.searches["0"].jobs[0].created is data
        assert not storage._own._parts
        assert len(storage.read(None)[0]) == 11, "read gives what the log holds"


@pytest.mark.parametrize("kind", KINDS)
def test_after_more_than_is_kept_the_log_is_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_writes, "MOST", 3)
    with client(kind, tmp_path) as storage:
        storage.create_new_search()
        for n in range(10):
            storage.append([event("created", n, args={"x": n})])
            if n == 4:
                assert len(storage.load_all_job_ids("0")) == 5
        assert len(storage.load_all_job_ids("0")) == 10


def test_a_journal_goes_on_in_the_next_file_after_a_write_that_failed(tmp_path: Path) -> None:
    with client("journal", tmp_path) as storage:
        storage.create_new_search()
        storage.append([event("created", 0, args={"x": 0})])
        writer = storage._file
        path = writer.path
        os.close(writer._file)  # the next write fails, as that to a disk that is gone
        with pytest.raises((StorageError, OSError)):
            storage.append([event("created", 1, args={"x": 1})])
        storage.append([event("created", 2, args={"x": 2})])
        assert writer.path != path
        assert storage.load_all_job_ids("0") == ["0.0", "0.2"]
        with client("journal", tmp_path) as reader:
            assert picture(storage) == picture(reader)


def part(own: OwnWrites, begin: int, *events: str) -> None:
    own.add(begin, begin + len(events), [field for name in events for field in (name, "0", 0, {}, None)])


def names(taken: tuple[list[Any], Any]) -> tuple[list[str], Any]:
    return taken[0][::5], taken[1]


def test_parts_are_given_as_far_as_they_follow_each_other() -> None:
    own = OwnWrites()
    part(own, 5, "a", "b")
    part(own, 7, "c")
    part(own, 9, "e")
    assert names(own.take(4)) == ([], 4), "what stands at 4 is not here"
    assert names(own.take(5)) == (["a", "b", "c"], 8)
    assert names(own.take(5)) == ([], 5), "each once"
    assert names(own.take(10)) == ([], 10)
    assert not own._parts, "what the reader has passed is forgotten"


def test_parts_of_a_log_that_was_set_back_are_forgotten() -> None:
    own = OwnWrites()
    part(own, 5, "a", "b")
    part(own, 3, "c")
    assert names(own.take(3)) == (["c"], 4)
    assert not own._parts
