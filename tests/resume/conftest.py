"""Stores for the tests of evaluators on storages: by URL, for the processes of a test share nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evalpool.storage import SharedMemoryStorage, Storage, storage_from_url
from storage.redis_server import RedisServer
from storage.test_disk import small_disk  # noqa: F401  a fixture

DURABLE = ["sqlite", "journal", "redis"]


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """One server for the tests that do not kill it."""
    with RedisServer.running() as server:
        yield server


def new_url(kind: str, directory: Path, redis: RedisServer) -> str:
    """The URL of a new, empty store of this kind."""
    if kind == "sqlite":
        return f"sqlite:///{directory}/results.db"
    if kind == "journal":
        return f"journal:///{directory}/runs"
    redis.empty()
    return f"redis+{redis.url}"


@pytest.fixture(params=DURABLE)
def url(request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer) -> str:
    """Of a durable store."""
    return new_url(request.param, tmp_path, redis)


@pytest.fixture
def durable(url: str) -> Iterator[Storage]:
    """A client of it."""
    with storage_from_url(url) as storage:
        yield storage


@pytest.fixture(params=[*DURABLE, "shared_memory"])
def shared(request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer) -> Iterator[Storage]:
    """A storage that worker processes reach."""
    if request.param == "shared_memory":
        storage: Storage = SharedMemoryStorage()
    else:
        storage = storage_from_url(new_url(request.param, tmp_path, redis))
    with storage:
        yield storage


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Storage]:
    """Where one durable client is as good as another."""
    with storage_from_url(f"sqlite:///{tmp_path}/results.db") as storage:
        yield storage
