"""Tests for every storage, also for one that keeps nothing: numbers, unknown ids, closing."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from evalpool.errors import (
    BadArgument,
    MaximumJobsSpawnReached,
    NotShareable,
    UnknownJob,
    UnknownSearch,
)
from evalpool.storage import Sharing, Storage

__all__ = ["CountingContract"]


class CountingContract:
    """The part of the contract for a storage that keeps nothing, too (`Storage.keeps`). Override `storage`."""

    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        """A new, empty storage."""
        raise NotImplementedError("override the fixture `storage`")

    def test_searches_are_numbered_from_zero(self, storage: Storage) -> None:
        assert [storage.create_new_search() for _ in range(3)] == ["0", "1", "2"]
        assert storage.load_all_search_ids() == ["0", "1", "2"]
        assert storage.latest_search() == "2"

    def test_ten_searches_come_in_the_order_of_their_numbers(self, storage: Storage) -> None:
        ids = [storage.create_new_search() for _ in range(11)]
        assert storage.load_all_search_ids() == ids
        assert storage.latest_search() == "10"

    def test_an_empty_storage_has_no_latest_search(self, storage: Storage) -> None:
        assert storage.load_all_search_ids() == []
        with pytest.raises(UnknownSearch, match="no search"):
            storage.latest_search()

    def test_a_search_keeps_its_start(self, storage: Storage) -> None:
        search_id = storage.create_new_search(start=1_700_000_000.25)
        assert storage.search_start(search_id) == 1_700_000_000.25

    def test_an_unknown_search_is_named_with_those_that_exist(self, storage: Storage) -> None:
        storage.create_new_search()
        for use in (
            storage.load_search,
            storage.load_all_job_ids,
            storage.count_jobs,
            storage.records,
            storage.search_start,
            storage.create_new_job,
            lambda search_id: storage.reserve(search_id, 1),
            lambda search_id: storage.follow(search_id, "me"),
        ):
            with pytest.raises(UnknownSearch, match=r"'7'.*'0'"):
                use("7")
        with pytest.raises(KeyError):
            storage.load_search("7")

    def test_an_unknown_job_is_named(self, storage: Storage) -> None:
        storage.create_new_search()
        for job_id in ("0.5", "3.0", "nonsense", "0.-1", "0.", ".0"):
            with pytest.raises(UnknownJob, match=job_id.replace(".", r"\.")):
                storage.load_job(job_id)
            with pytest.raises(KeyError):
                storage.store_job_out(job_id, 1)

    def test_appending_nothing_is_allowed(self, storage: Storage) -> None:
        storage.append([])
        storage.append_soon([])
        storage.flush()

    def test_reserved_numbers_are_consecutive(self, storage: Storage) -> None:
        search_id = storage.create_new_search()
        assert [storage.reserve(search_id, n) for n in (1, 3, 0, 2)] == [0, 1, 4, 4]
        assert storage.reserve(search_id, 1) == 6

    def test_the_cap_takes_all_or_nothing(self, storage: Storage) -> None:
        search_id = storage.create_new_search()
        assert storage.reserve(search_id, 3, cap=5) == 0
        with pytest.raises(MaximumJobsSpawnReached, match="1 too many"):
            storage.reserve(search_id, 3, cap=5)
        assert storage.reserve(search_id, 2, cap=5) == 3
        with pytest.raises(MaximumJobsSpawnReached):
            storage.reserve(search_id, 1, cap=5)
        assert storage.reserve(search_id, 1) == 5

    @pytest.mark.parametrize("n", [-1, 1.5, "2"])
    def test_numbers_that_are_no_count_are_refused(self, storage: Storage, n: Any) -> None:
        search_id = storage.create_new_search()
        with pytest.raises(BadArgument):
            storage.reserve(search_id, n)

    def test_a_client_that_is_not_shared_refuses_to_be_pickled_with_advice(self, storage: Storage) -> None:
        if storage.shared >= Sharing.PROCESSES:
            pytest.skip(f"{type(storage).__name__} is shared between processes")
        with pytest.raises(NotShareable, match="Use "):
            pickle.dumps(storage)

    def test_close_can_be_called_twice(self, storage: Storage) -> None:
        storage.close()
        storage.close()
