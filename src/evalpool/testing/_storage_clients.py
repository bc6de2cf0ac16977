"""Tests of several clients of one log: jobs that others finished, lost jobs, numbers."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator

import pytest

from evalpool.errors import (
    MaximumJobsSpawnReached,
)
from evalpool.storage import Event, Sharing, Storage, new_owner
from evalpool.testing._kept import Kept, created, finished

__all__ = ["Clients"]


class Clients(Kept):
    """Tests of what clients of the same log see of each other."""

    @pytest.fixture
    def peer(self, kept: Storage) -> Iterator[Storage]:
        """A second client of the same log, as a worker process would have it."""
        if kept.shared < Sharing.PROCESSES:
            pytest.skip(f"{type(kept).__name__} is shared by threads only")
        with pickle.loads(pickle.dumps(kept)) as peer:
            yield peer

    def test_a_follower_gets_what_others_finished_once_zero_included(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        kept.append([created(search_id, n, "me" if n == 0 else "other") for n in range(kept.reserve(search_id, 3), 3)])
        kept.append([finished(search_id, 0, 1.0), finished(search_id, 2, 0.0)])
        follower = kept.follow(search_id, "me")
        assert [(record.number, record.objective) for record in follower.poll()] == [(2, 0.0)]
        assert follower.poll() == []
        kept.append([finished(search_id, 1, "F_x", status="FAILED")])
        assert [record.number for record in follower.poll()] == [1]
        assert follower.poll() == []

    def test_the_jobs_of_a_living_owner_are_not_lost(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        owner = new_owner()
        kept.lease(search_id, owner, ttl=3600)
        kept.append([created(search_id, kept.reserve(search_id, 1), owner)])
        assert kept.claim_lost(search_id, new_owner()) == []

    def test_unfinished_jobs_of_an_expired_owner_become_ours_once(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        gone, heir, late = new_owner(), new_owner(), new_owner()
        kept.lease(search_id, gone, ttl=3600)
        for owner in (heir, late):
            kept.lease(search_id, owner, ttl=3600)
        kept.append([created(search_id, n, gone, x=n) for n in range(kept.reserve(search_id, 3), 3)])
        kept.append([Event("started", search_id, 1, {"start": 0.0, "attempt": 1})])
        kept.append([finished(search_id, 2, 1.0)])
        kept.renew(search_id, gone, ttl=0)

        claimed = kept.claim_lost(search_id, heir)

        assert [(record.number, record.configuration) for record in claimed] == [(0, {"x": 0}), (1, {"x": 1})]
        assert {record.owner for record in claimed} == {heir}
        assert {record.attempts for record in claimed} == {1}
        assert kept.claim_lost(search_id, late) == []
        kept.append([finished(search_id, 0, 0.5, attempts=2, owner=heir)])
        assert kept.load_record("0.0").objective == 0.5

    def test_a_pickled_client_sees_and_adds(self, kept: Storage, peer: Storage) -> None:
        search_id = kept.create_new_search()
        job_id = peer.create_new_job(search_id)
        kept.store_job_in(job_id, {"x": 1})
        peer.store_job_out(job_id, 0.0)
        assert kept.load_job(job_id) == peer.load_job(job_id)
        assert kept.load_job(job_id)["out"] == 0.0
        assert [kept.create_new_job(search_id), peer.create_new_job(search_id)] == ["0.1", "0.2"]
        assert [kept.create_new_search(), peer.create_new_search()] == ["1", "2"]

    def test_the_cap_is_exact_over_clients(self, kept: Storage, peer: Storage) -> None:
        search_id = kept.create_new_search()
        assert kept.reserve(search_id, 2, cap=3) == 0
        with pytest.raises(MaximumJobsSpawnReached):
            peer.reserve(search_id, 2, cap=3)
        assert peer.reserve(search_id, 1, cap=3) == 2

    def test_a_number_whose_taker_is_gone_is_not_given_again(self, kept: Storage) -> None:
        if kept.shared < Sharing.PROCESSES:
            pytest.skip(f"{type(kept).__name__} is shared by threads only")
        search_id = kept.create_new_search()
        with pickle.loads(pickle.dumps(kept)) as gone:
            assert gone.reserve(search_id, 3) == 0  # and it records no job
        assert kept.reserve(search_id, 0) == 3
        with pickle.loads(pickle.dumps(kept)) as late:
            with pytest.raises(MaximumJobsSpawnReached):
                late.reserve(search_id, 2, cap=4)
            assert late.reserve(search_id, 1, cap=4) == 3
        kept.append([created(search_id, kept.reserve(search_id, 1))])
        assert [record.number for record in kept.records(search_id)] == [4]
        assert kept.reserve(search_id, 0) == 5

    def test_of_two_claimants_each_job_goes_to_one(self, kept: Storage, peer: Storage) -> None:
        search_id = kept.create_new_search()
        kept.append([created(search_id, n, "gone") for n in range(kept.reserve(search_id, 20), 20)])
        owners = [new_owner(), new_owner()]
        for owner in owners:
            kept.lease(search_id, owner, ttl=3600)
        start = threading.Barrier(2)
        claimed: dict[str, list[int]] = {}

        def claim(storage: Storage, owner: str) -> None:
            start.wait()
            claimed[owner] = [record.number for record in storage.claim_lost(search_id, owner)]

        threads = [threading.Thread(target=claim, args=pair) for pair in zip((kept, peer), owners, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(claimed[owners[0]] + claimed[owners[1]]) == list(range(20))
        for record in peer.records(search_id):
            assert record.number in claimed[record.owner or ""]
