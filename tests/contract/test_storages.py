"""Every storage client keeps the contract of `evalpool.testing.StorageContract`."""

from collections.abc import Iterator

import pytest

from evalpool.storage import MemoryStorage, NullStorage, Storage
from evalpool.testing._storage import StorageContract


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        with MemoryStorage() as storage:
            yield storage


class TestNullStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        with NullStorage() as storage:
            yield storage
