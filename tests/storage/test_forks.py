"""A child that is forked while a storage is being written has one that works, and leaves the parent's alone."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import pytest

from evalpool.storage import Event, SQLiteStorage

pytestmark = pytest.mark.slow

BOUND = 30.0


def append_one(storage: SQLiteStorage, number: int) -> None:
    storage.append([Event("created", "0", number, {"args": {"x": number}, "owner": "child"})])
    storage.records("0")


def test_children_forked_amidst_writes_can_write(tmp_path: Path) -> None:
    with SQLiteStorage(tmp_path / "results.db", timeout=5.0) as storage:
        storage.create_new_search()
        done = threading.Event()

        def write_all_the_time() -> None:
            number = 1_000
            while not done.wait(0.0005):  # so that others come to write, too
                storage.append([Event("created", "0", number, {"args": {"x": number}, "owner": "parent"})])
                number += 1

        writer = threading.Thread(target=write_all_the_time)
        writer.start()
        try:
            context = multiprocessing.get_context("fork")
            for number in range(10):
                child = context.Process(target=append_one, args=(storage, number))
                child.start()
                child.join(BOUND)
                assert child.exitcode == 0
        finally:
            done.set()
            writer.join(BOUND)
        assert {record.number for record in storage.records("0")} >= set(range(10))
