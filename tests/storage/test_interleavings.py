"""Any interleaving of appends by several writers folds to the same state, for every reader, in every client."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalpool.storage import (
    Event,
    JournalStorage,
    MemoryStorage,
    RedisStorage,
    SharedMemoryStorage,
    SQLiteStorage,
    Storage,
)
from storage.redis_server import RedisServer

WRITERS = 3
JOBS = 2
OWNERS = [f"owner-{n}" for n in range(WRITERS)]


def _event(kind: str, number: int, data: dict[str, Any]) -> Event:
    return Event(kind, "0", number, data)


NUMBERS = st.integers(0, JOBS - 1)
EVENTS = st.one_of(
    st.builds(lambda n, a: _event("started", n, {"attempt": a, "start": 1.0}), NUMBERS, st.integers(1, 3)),
    st.builds(
        lambda n, a, o: _event("queued", n, {"attempt": a, "owner": o}),
        NUMBERS,
        st.integers(2, 4),
        st.sampled_from(OWNERS),
    ),
    st.builds(
        lambda n, a, x: _event("finished", n, {"attempts": a, "status": "DONE", "objective": x}),
        NUMBERS,
        st.integers(1, 4),
        st.sampled_from([0.0, 0.5, "F_x"]),
    ),
    st.builds(lambda n, x: _event("recorded", n, {"budget": 1, "objective": x}), NUMBERS, st.floats(0, 1)),
    st.builds(lambda n, x: _event("metadata", n, {"k": x}), NUMBERS, st.integers()),
    st.builds(lambda n, x: _event("out", n, {"out": x}), NUMBERS, st.integers()),
    st.builds(lambda x: Event("value", "0", None, {"k": x}), st.integers()),
)
# (writer, what it does): append a batch, or read what the others wrote.
STEPS = st.lists(
    st.tuples(st.integers(0, WRITERS - 1), st.just([]) | st.lists(EVENTS, min_size=1, max_size=3)), max_size=12
)


def _picture(storage: Storage) -> Any:
    with storage._fold_lock:
        values = dict(storage._search("0").values)
        finished = sorted(storage._search("0").finished)
    return storage.records("0"), values, finished


def _check(new: Callable[[], Storage], steps: list[tuple[int, list[Event]]]) -> None:
    """Do the steps with several clients of one store; all of them, and a late one, see what one list would say."""
    with ExitStack() as stack:
        clients = [stack.enter_context(new()) for _ in range(WRITERS)]
        reference = MemoryStorage()
        for storage in (clients[0], reference):
            search_id = storage.create_new_search(start=1.0)
            storage.append([_event("created", n, {"args": {"x": n}, "owner": OWNERS[n]}) for n in range(JOBS)])
            storage.reserve(search_id, JOBS)
        for writer, batch in steps:
            if batch:
                clients[writer].append(batch)
                reference.append(batch)
            else:
                clients[writer].records("0")
        expected = _picture(reference)
        late = stack.enter_context(new())
        for client in (*clients, late):
            assert _picture(client) == expected


_SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@given(STEPS)
@_SETTINGS
def test_in_sqlite(steps: list[tuple[int, list[Event]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        _check(lambda: SQLiteStorage(Path(directory) / "results.db"), steps)


@pytest.mark.slow
@given(STEPS)
@_SETTINGS
def test_in_a_journal(steps: list[tuple[int, list[Event]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        _check(lambda: JournalStorage(Path(directory) / "runs"), steps)


@pytest.mark.slow
@given(STEPS)
@_SETTINGS
def test_in_redis(common_redis_server: RedisServer, steps: list[tuple[int, list[Event]]]) -> None:
    common_redis_server.empty()
    _check(lambda: RedisStorage.from_url(common_redis_server.url), steps)


@pytest.mark.slow
@given(STEPS)
@_SETTINGS
def test_in_shared_memory(steps: list[tuple[int, list[Event]]]) -> None:
    with SharedMemoryStorage() as storage:
        _check(lambda: SharedMemoryStorage._attach(storage._link.address, storage._link.key), steps)


def files_of(journal: Path) -> list[Path]:
    return sorted((journal / "writers").iterdir())


@pytest.mark.slow
@given(STEPS, st.data())
@_SETTINGS
def test_in_a_journal_whose_files_come_late(steps: list[tuple[int, list[Event]]], data: st.DataObject) -> None:
    """Readers of a shared directory see other hosts' files later, each in its own order: all end in one state."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        here, there = Path(directory, "here"), Path(directory, "there")
        clients = [stack.enter_context(JournalStorage(here)) for _ in range(WRITERS)]
        clients[0].create_new_search(start=1.0)
        clients[0].append([_event("created", n, {"args": {"x": n}, "owner": OWNERS[n]}) for n in range(JOBS)])
        for writer, batch in steps:
            if batch:
                clients[writer].append(batch)
            else:
                clients[writer].records("0")
        expected = _picture(stack.enter_context(JournalStorage(here)))

        reader = stack.enter_context(JournalStorage(there))
        files = [file for _, file in sorted(zip(data.draw(st.permutations(range(9))), files_of(here), strict=False))]
        for file in files:
            content = file.read_bytes()  # of a length that depends on the machine, so the cut is drawn as a share of it
            cut = round(data.draw(st.floats(0.0, 1.0)) * len(content))
            (there / "writers" / file.name).write_bytes(content[:cut])
            reader.load_all_search_ids()
        for file in files:
            shutil.copy(file, there / "writers")
            reader.load_all_search_ids()
        assert _picture(reader) == expected
