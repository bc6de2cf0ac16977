"""What the contracts of storages that keep what they are given have in common."""

from __future__ import annotations

from typing import Any

import pytest

from evalpool.storage import Event, Storage

__all__ = ["Kept", "created", "finished"]


def created(search_id: str, number: int, owner: str | None = None, **args: Any) -> Event:
    """A job is there."""
    return Event("created", search_id, number, {"args": args, "kwargs": {}, "submit": 0.5, "owner": owner})


def finished(search_id: str, number: int, objective: Any, **more: Any) -> Event:
    """A job has ended."""
    data = {"status": "DONE", "objective": objective, "attempts": 1, **more}
    return Event("finished", search_id, number, data)


class Kept:
    """Of a storage whose word is that what it is given can be loaded."""

    @pytest.fixture
    def kept(self, storage: Storage) -> Storage:
        """The storage, whose word is that what it is given can be loaded."""
        assert storage.keeps
        return storage
