"""Finds storages by name and by URL. Each is imported only when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from evalpool._registry import Registry
from evalpool.errors import BadArgument
from evalpool.storage._base import Storage

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["STORAGES", "create", "path_of_url", "split_url", "storage_from_url"]

STORAGES: Registry[type[Storage]] = Registry("storages", "storage", lambda: Storage)
"""The known storages, by name. Other packages add theirs with the entry-point group ``evalpool.storages``."""

_EXAMPLES = (
    "sqlite:///results.db, sqlite:////absolute/path.db, journal:///directory, "
    "redis://host:6379/0, rediss://..., memory://, null://"
)


def create(method: str, method_kwargs: dict[str, Any] | None = None) -> Storage:
    """See `Storage.create`."""
    return STORAGES[method](**(method_kwargs or {}))


def storage_from_url(url: str) -> Storage:
    """Return a new client of the storage at `url`.

    ``sqlite:///results.db`` is relative to the working directory, ``sqlite:////data/results.db`` is absolute; the same
    is true for ``journal:``. URLs with ``redis://``, ``rediss://`` (TLS) and ``redis+unix://`` (a socket) are read by
    the Redis client. Raises `BadArgument` for a URL that it cannot read.

    >>> storage_from_url("memory://")
    <MemoryStorage of 0 events>
    """
    parts = split_url(url)
    scheme = parts.scheme
    if scheme in ("redis", "rediss", "redis+unix"):
        redis: Any = STORAGES["redis"]
        return cast(Storage, redis.from_url(url.removeprefix("redis+")))
    STORAGES[scheme]  # raises an error for an unknown name, before other errors in the URL are looked for
    if parts.query or parts.fragment:
        raise BadArgument(f"{url!r}: a {scheme} URL has no options; use the class itself for those.")
    if scheme in ("sqlite", "journal"):
        if parts.netloc or not parts.path.strip("/"):
            raise BadArgument(
                f"{url!r} names no path: three slashes before a relative one, four before an absolute "
                f"one, as {scheme}:///results or {scheme}:////data/results."
            )
        return create(scheme, {"path" if scheme == "sqlite" else "directory": path_of_url(parts)})
    if parts.netloc or parts.path.strip("/"):
        raise BadArgument(f"{url!r}: a {scheme} URL has nothing behind the slashes.")
    return create(scheme)


def split_url(url: str) -> SplitResult:
    """Return the parts of a storage's URL. Raises `BadArgument` if it is none."""
    from urllib.parse import urlsplit  # here, because most evaluators are given no URL

    try:
        parts = urlsplit(url) if isinstance(url, str) and "://" in url else None
    except ValueError:  # as with an open bracket in the host
        parts = None
    if parts is None or not parts.scheme:
        raise BadArgument(f"{url!r} is not the URL of a storage; as {_EXAMPLES}.")
    return parts


def path_of_url(parts: SplitResult) -> str:
    """Return the path in a URL of a file or directory. Its name may be any bytes, as Python's names of files are."""
    from urllib.parse import unquote

    return unquote(parts.path[1:], errors="surrogateescape")
