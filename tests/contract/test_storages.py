"""Every storage client keeps the contract of `evalpool.testing.StorageContract`."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalpool.storage import (
    JournalStorage,
    MemoryStorage,
    NullStorage,
    RedisStorage,
    SharedMemoryStorage,
    SQLiteStorage,
    Storage,
)
from evalpool.testing._storage import CountingContract, StorageContract
from storage.redis_server import RedisServer


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


class TestSharedMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        with SharedMemoryStorage() as storage:
            yield storage


class TestAClientOfASharedMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        with SharedMemoryStorage() as served, pickle.loads(pickle.dumps(served)) as client:
            yield client


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer.running() as server:
        yield server


class TestRedisStorage(StorageContract):
    @pytest.fixture
    def storage(self, redis_server: RedisServer) -> Iterator[Storage]:
        redis_server.empty()
        with RedisStorage.from_url(redis_server.url) as storage:
            yield storage


class TestNullStorage(CountingContract):
    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        with NullStorage() as storage:
            yield storage
