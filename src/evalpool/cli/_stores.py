"""Opening the storage that a command line names: by a URL, or by a path whose form shows the kind of storage."""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any

from evalpool.errors import BadArgument, UnknownSearch
from evalpool.storage._base import Storage
from evalpool.storage._registry import path_of_url, split_url, storage_from_url

if TYPE_CHECKING:
    from contextlib import ExitStack

    from typing_extensions import Self

    from evalpool.storage import Cursor, Event

__all__ = ["Awaited", "followed", "open_to_read", "open_to_write", "search_of"]

_AS = "as sqlite:///results.db, journal:///directory, redis://host:6379/0, or the path of an existing one"
_SUFFIXES = (".db", ".sqlite", ".sqlite3")


def open_to_write(store: str) -> Storage:
    """The storage `store`; a file or directory that does not exist is made.

    Raises:
        BadArgument: it is not the URL or path of a storage, or the storage would end with this program.
        StorageError: it cannot be opened.
    """
    url = _url_of(store)
    assert url is not None
    return storage_from_url(url)


def open_to_read(store: str) -> Storage:
    """The existing storage `store`: like `open_to_write`, but a missing file or directory is a `BadArgument`."""
    url = _url_of(store)
    assert url is not None
    if missing := _missing(url):
        raise BadArgument(f"{missing} Give the storage of a search that was begun, {_AS}.")
    return storage_from_url(url)


def _missing(url: str) -> str:
    """Why there is no storage at `url` yet; empty if there may be one."""
    parts = split_url(url)
    scheme, path = parts.scheme, path_of_url(parts)
    if scheme not in ("sqlite", "journal"):
        return ""
    if path and not os.path.exists(path):
        return f"there is no {path!r}."
    if scheme == "journal" and os.path.isdir(path) and not os.listdir(path):
        return f"the directory {path!r} is empty; it is not a journal."
    if scheme == "sqlite" and os.path.isfile(path) and not os.path.getsize(path):
        return f"the file {path!r} is empty; it is not an SQLite file."
    return ""


class Awaited:
    """A storage that may not exist yet: until it exists, there are no events to read. One thread at a time.

    It has those methods of a `Storage` that `Watcher` and `Feed` use.

    Args:
        store: as for `open_to_read`.

    Raises:
        BadArgument: `store` is something that will never be a storage.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._storage: Storage | None = None
        self.is_there = self._look()

    def read(self, after: Cursor | None) -> tuple[list[Event], Any]:
        """The events after a cursor, like `Storage.read`; none as long as there is no storage."""
        self.is_there = self.is_there or self._look()
        return ([], None) if self._storage is None else self._storage.read(after)

    def _look(self) -> bool:
        url = _url_of(self._store, may_come=True)
        if url is not None and not _missing(url):
            self._storage = storage_from_url(url)
        return self._storage is not None

    def search_of(self, search_id: str | None) -> None:
        """Raise `UnknownSearch` if the storage exists and has no such search."""
        if search_id is not None and self._storage is not None:
            search_of(self._storage, search_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._storage is not None:
            self._storage.close()


def followed(storage: Storage | Awaited | str, stack: ExitStack) -> Storage | Awaited:
    """The storage to look at: the given one, or the one that a text names, which `stack` closes and may not exist yet.

    Raises:
        BadArgument: it is not a storage, or one that keeps nothing, or the text names nothing that will ever be one.
    """
    if isinstance(storage, str):
        return stack.enter_context(Awaited(storage))
    if not isinstance(storage, (Storage, Awaited)):
        raise BadArgument(
            f"storage is {storage!r} of type {type(storage).__name__}; give an evalpool.storage.Storage, or {_AS[3:]}."
        )
    if isinstance(storage, Storage) and not storage.keeps:
        raise BadArgument(f"there is nothing to look at in {storage!r}, which keeps nothing; give another storage.")
    return storage


def search_of(storage: Storage, search_id: str | None) -> str:
    """The id of the search that was asked for, or of the latest. Raises `UnknownSearch`."""
    if search_id is None:
        return storage.latest_search()
    if search_id not in storage.load_all_search_ids():
        storage.search_start(search_id)  # raises, with the searches that exist
        raise UnknownSearch(f"no search {search_id!r} in {storage!r}.")
    return search_id


def _url_of(store: str, *, may_come: bool = False) -> str | None:
    """The URL of a store that is named by its URL or path; None for a path that may become either kind of store."""
    if "://" in store:
        if split_url(store).scheme in ("memory", "null", "shared_memory"):
            raise BadArgument(f"{store!r} ends with the program that made it; give a storage that stays, {_AS}.")
        return store
    from urllib.parse import quote

    quoted = quote(store, errors="surrogateescape")
    if os.path.isdir(store):
        return f"journal:///{quoted}"
    if os.path.isfile(store) or store.endswith(_SUFFIXES):
        return f"sqlite:///{quoted}"
    if may_come:
        return None
    raise BadArgument(f"there is no {store!r}; give a storage {_AS}.")
