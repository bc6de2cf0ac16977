"""Fixtures of the storage tests."""

from collections.abc import Iterator

import pytest

from storage.redis_server import RedisServer


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer.running() as server:
        yield server
