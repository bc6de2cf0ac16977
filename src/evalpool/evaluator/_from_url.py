"""A storage given by its URL: opened and closed with the evaluator, and reopened if a user looks at results later."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from evalpool.errors import BadArgument
from evalpool.storage._registry import storage_from_url

if TYPE_CHECKING:
    from evalpool.storage import Storage

__all__ = ["FromUrl"]


class FromUrl:
    """The client at `url`; closed with `owner` at the latest.

    Raises:
        BadArgument: `url` is the URL of no storage.
    """

    def __init__(self, url: str, owner: Any) -> None:
        if "://" not in url:
            raise BadArgument(
                f"storage is {url!r} of type str; give an evalpool.storage.Storage, such as SQLiteStorage({url!r}), "
                'or its URL, such as "sqlite:///results.db".'
            )
        self._url = url
        self._open(owner)

    def _open(self, owner: Any) -> None:
        self.client: Storage = storage_from_url(self._url)
        self._closing = weakref.finalize(owner, self.client.close)

    def close(self) -> None:
        """Close a durable client. Others would lose their records, so they stay open while the owner exists."""
        if self.client.durable:
            self._closing()
        else:
            self.client.flush()

    def again(self, owner: Any) -> Storage:
        """Return an open client: this one, or after `close` a new one, which is closed when `owner` is collected."""
        if not self._closing.alive:
            self._open(owner)
        return self.client
