"""What every storage must do, as a pytest class that anyone can bind to theirs.

::

    from evalpool.testing import StorageContract

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self):
            with MyStorage() as storage:
                yield storage

What a client does not promise (`Storage.shared`) is skipped with the reason. One that keeps nothing
(`Storage.keeps`) is bound to `CountingContract`.
"""

from __future__ import annotations

from evalpool.testing._counting import CountingContract
from evalpool.testing._storage_clients import Clients
from evalpool.testing._storage_events import Events
from evalpool.testing._storage_jobs import JobsByHand

__all__ = ["CountingContract", "StorageContract"]


class StorageContract(CountingContract, JobsByHand, Events, Clients):
    """The contract of `evalpool.storage.Storage`. Override the fixture `storage`."""
