"""Every storage client keeps the contract of `evalpool.testing.StorageContract`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evalpool.storage import JournalStorage, MemoryStorage, NullStorage, SQLiteStorage, Storage
from evalpool.testing._storage import StorageContract


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        with MemoryStorage() as storage:
            yield storage


class TestSQLiteStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        with SQLiteStorage(tmp_path / "results.db") as storage:
            yield storage


class TestJournalStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        with JournalStorage(tmp_path / "runs") as storage:
            yield storage


class TestNullStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        with NullStorage() as storage:
            yield storage
