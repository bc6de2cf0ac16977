"""Helpers for the contracts of storages that keep their events."""

from __future__ import annotations

from typing import Any

import pytest

from evalpool.storage import Event, Storage

__all__ = ["Kept", "created", "finished"]


def created(search_id: str, number: int, owner: str | None = None, **args: Any) -> Event:
    """Return the event that a job was created."""
    return Event("created", search_id, number, {"args": args, "kwargs": {}, "submit": 0.5, "owner": owner})


def finished(search_id: str, number: int, objective: Any, **more: Any) -> Event:
    """Return the event that a job has ended."""
    data = {"status": "DONE", "objective": objective, "attempts": 1, **more}
    return Event("finished", search_id, number, data)


class Kept:
    """Base of tests for a storage that keeps its events."""

    @pytest.fixture
    def kept(self, storage: Storage) -> Storage:
        """The storage, which must keep its events (`Storage.keeps`)."""
        assert storage.keeps
        return storage
