"""Storages by name and by URL; each is imported when it is first asked for."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from evalpool.errors import BadArgument, UnknownMethod
from evalpool.storage._base import Storage

__all__ = ["GROUP", "create", "storage_class", "storage_from_url", "storage_names"]

GROUP = "evalpool.storages"
"""The entry-point group by which other packages add storages: ``name = package.module:Class``."""

_BUILTIN = {
    "memory": ("_memory", "MemoryStorage"),
    "null": ("_null", "NullStorage"),
    "journal": ("_journal", "JournalStorage"),
    "ray": ("_ray", "RayStorage"),
    "mpi": ("_mpi", "MPIStorage"),
    "redis": ("_redis", "RedisStorage"),
    "shared_memory": ("_shared_memory", "SharedMemoryStorage"),
    "sqlite": ("_sqlite", "SQLiteStorage"),
}

_EXAMPLES = (
    "sqlite:///results.db, sqlite:////absolute/path.db, journal:///directory, "
    "redis://host:6379/0, rediss://..., memory://, null://"
)


def storage_names() -> list[str]:
    """Every name that `Storage.create` takes, those of other packages included."""
    return sorted({*_BUILTIN, *(entry.name for entry in _entry_points())})


def storage_class(method: str) -> type[Storage]:
    """The class behind a name. Raises `UnknownMethod`, which lists the names there are."""
    if method in _BUILTIN:
        module, name = _BUILTIN[method]
        return cast("type[Storage]", getattr(importlib.import_module(f"evalpool.storage.{module}"), name))
    for entry in _entry_points():
        if entry.name == method:
            found = entry.load()
            if not (isinstance(found, type) and issubclass(found, Storage)):
                raise BadArgument(f"the entry point {entry.value!r} of storage {method!r} is not a Storage class.")
            return found
    raise UnknownMethod(f"no storage is called {method!r}; there are {', '.join(storage_names())}.")


def create(method: str, method_kwargs: dict[str, Any] | None = None) -> Storage:
    """See `Storage.create`."""
    return storage_class(method)(**(method_kwargs or {}))


def storage_from_url(url: str) -> Storage:
    """Return a new client of the storage at `url`.

    ``sqlite:///results.db`` is relative to the working directory, ``sqlite:////data/results.db`` is absolute,
    and so with ``journal:``. ``redis://``, ``rediss://`` (TLS) and ``redis+unix://`` (a socket) are read by the Redis
    client. Raises `BadArgument` for a URL it cannot read.

    >>> storage_from_url("memory://")
    <MemoryStorage of 0 events>
    """
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or not parts.scheme or "://" not in url:
        raise BadArgument(f"{url!r} is not the URL of a storage; as {_EXAMPLES}.")
    scheme = parts.scheme
    if scheme in ("redis", "rediss", "redis+unix"):
        redis: Any = storage_class("redis")
        return cast(Storage, redis.from_url(url.removeprefix("redis+")))
    storage_class(scheme)  # whatever else is wrong, an unknown name is said first
    if parts.query or parts.fragment:
        raise BadArgument(f"{url!r}: a {scheme} URL has no options; use the class itself for those.")
    if scheme in ("sqlite", "journal"):
        if parts.netloc or not parts.path.strip("/"):
            raise BadArgument(
                f"{url!r} names no path: three slashes before a relative one, four before an absolute "
                f"one, as {scheme}:///results or {scheme}:////data/results."
            )
        return create(scheme, {"path" if scheme == "sqlite" else "directory": unquote(parts.path[1:])})
    if parts.netloc or parts.path.strip("/"):
        raise BadArgument(f"{url!r}: a {scheme} URL has nothing behind the slashes.")
    return create(scheme)


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=GROUP)
