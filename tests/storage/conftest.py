"""Fixtures of the storage tests: a new storage of each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evalpool.storage import JournalStorage, RedisStorage, SharedMemoryStorage, SQLiteStorage, Storage
from storage.redis_server import RedisServer

DURABLE = ["sqlite", "journal", "redis"]


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer.running() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def common_redis_server() -> Iterator[RedisServer]:
    """One server for the tests that do not kill it; started before any test looks what it leaves behind."""
    with RedisServer.running() as server:
        yield server


def _new(kind: str, request: pytest.FixtureRequest, directory: Path) -> Storage:
    if kind == "sqlite":
        return SQLiteStorage(directory / "results.db")
    if kind == "journal":
        return JournalStorage(directory / "runs")
    if kind == "shared_memory":
        return SharedMemoryStorage()
    server = request.getfixturevalue("common_redis_server")
    server.empty()
    return RedisStorage.from_url(server.url)


@pytest.fixture(params=DURABLE)
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A storage that outlives its processes."""
    with _new(request.param, request, tmp_path) as storage:
        yield storage


@pytest.fixture(params=[*DURABLE, "shared_memory"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A storage that several processes share."""
    with _new(request.param, request, tmp_path) as storage:
        yield storage
