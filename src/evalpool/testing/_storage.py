"""The contract of every storage, as a pytest class that you bind to yours.

::

    from evalpool.testing import StorageContract

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self):
            with MyStorage() as storage:
                yield storage

Tests of what a client does not promise (`Storage.shared`) are skipped, with the reason. Bind a storage that keeps
nothing (`Storage.keeps`) to `CountingContract` instead.
"""

from __future__ import annotations

from evalpool.testing._counting import CountingContract
from evalpool.testing._storage_clients import Clients
from evalpool.testing._storage_events import Events
from evalpool.testing._storage_jobs import JobsByHand

__all__ = ["CountingContract", "StorageContract"]


class StorageContract(CountingContract, JobsByHand, Events, Clients):
    """The contract of `evalpool.storage.Storage`. Override the fixture `storage`."""
