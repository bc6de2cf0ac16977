"""Where records of searches and jobs are kept: `Storage` and its clients."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.storage._base import Cursor as Cursor
    from evalpool.storage._base import Sharing as Sharing
    from evalpool.storage._base import Storage as Storage
    from evalpool.storage._events import Event as Event
    from evalpool.storage._follow import Follower as Follower
    from evalpool.storage._journal import JournalStorage as JournalStorage
    from evalpool.storage._leases import new_owner as new_owner
    from evalpool.storage._memory import MemoryStorage as MemoryStorage
    from evalpool.storage._mpi import MPIStorage as MPIStorage
    from evalpool.storage._null import NullStorage as NullStorage
    from evalpool.storage._ray import RayStorage as RayStorage
    from evalpool.storage._redis import RedisStorage as RedisStorage
    from evalpool.storage._registry import storage_from_url as storage_from_url
    from evalpool.storage._shared_memory import SharedMemoryStorage as SharedMemoryStorage
    from evalpool.storage._sqlite import SQLiteStorage as SQLiteStorage

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Cursor": "_base",
        "Event": "_events",
        "Follower": "_follow",
        "JournalStorage": "_journal",
        "MemoryStorage": "_memory",
        "MPIStorage": "_mpi",
        "NullStorage": "_null",
        "RayStorage": "_ray",
        "RedisStorage": "_redis",
        "SQLiteStorage": "_sqlite",
        "SharedMemoryStorage": "_shared_memory",
        "Sharing": "_base",
        "Storage": "_base",
        "new_owner": "_leases",
        "storage_from_url": "_registry",
    },
)
