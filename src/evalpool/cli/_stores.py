"""Opening the storage that a command line names: a URL, or a path that tells its kind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from evalpool.errors import BadArgument, UnknownSearch
from evalpool.storage._registry import storage_from_url

if TYPE_CHECKING:
    from evalpool.storage import Storage

__all__ = ["open_to_read", "open_to_write", "search_of"]

_AS = "as sqlite:///results.db, journal:///directory, redis://host:6379/0, or the path of one that is there"
_SUFFIXES = (".db", ".sqlite", ".sqlite3")


def open_to_write(store: str) -> Storage:
    """The storage `store`, made if it is a file or directory that is not there.

    Raises:
        BadArgument: it is no URL and no path of a storage, or one that ends with this program.
        StorageError: it cannot be opened.
    """
    return storage_from_url(_url_of(store))


def open_to_read(store: str) -> Storage:
    """As `open_to_write`, but makes nothing: a missing file or directory is a `BadArgument`."""
    url = _url_of(store)
    scheme = urlsplit(url).scheme
    if scheme in ("sqlite", "journal"):
        path = unquote(urlsplit(url).path[1:])
        if path and not os.path.exists(path):
            raise BadArgument(f"there is no {path!r}; give the storage of a search that was begun, {_AS}.")
        if scheme == "journal" and os.path.isdir(path) and not os.listdir(path):
            raise BadArgument(f"the directory {path!r} is empty; it is no journal. Give a storage {_AS}.")
        if scheme == "sqlite" and os.path.isfile(path) and not os.path.getsize(path):
            raise BadArgument(f"the file {path!r} is empty; it is no SQLite file. Give a storage {_AS}.")
    return storage_from_url(url)


def search_of(storage: Storage, search_id: str | None) -> str:
    """The id of the search that was asked for, or of the latest. Raises `UnknownSearch`."""
    if search_id is None:
        return storage.latest_search()
    if search_id not in storage.load_all_search_ids():
        storage.search_start(search_id)  # raises, with the searches there are
        raise UnknownSearch(f"no search {search_id!r} in {storage!r}.")
    return search_id


def _url_of(store: str) -> str:
    if "://" in store:
        if urlsplit(store).scheme in ("memory", "null", "shared_memory"):
            raise BadArgument(f"{store!r} ends with the program that made it; give a storage that stays, {_AS}.")
        return store
    from urllib.parse import quote

    if os.path.isdir(store):
        return f"journal:///{quote(store)}"
    if os.path.isfile(store) or store.endswith(_SUFFIXES):
        return f"sqlite:///{quote(store)}"
    raise BadArgument(f"there is no {store!r}; give a storage {_AS}.")
