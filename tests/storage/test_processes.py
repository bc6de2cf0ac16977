"""Several processes on one storage, and processes that die."""

import os
import random
import signal
import threading
from itertools import chain

import pytest

from evalpool.outcomes import JobStatus
from evalpool.storage import Event, Storage, new_owner
from storage.workloads import workloads


@pytest.mark.slow
def test_four_processes_see_each_others_jobs_once_and_share_the_numbers(shared: Storage) -> None:
    search_id = shared.create_new_search()
    with workloads(4, "evaluate", shared, search_id, 50) as processes:
        for process in processes:
            assert process.line() == "ready"
        for process in processes:
            process.go()
        own = [set(map(int, process.lines_until("done"))) for process in processes]
        for process in processes:
            assert process.line() == "ready"
            process.go()
        seen = [[int(number) for number in process.line().split()] for process in processes]

    everything = set(range(200))
    assert set.union(*own) == everything
    assert sum(map(len, own)) == 200
    for mine, others in zip(own, seen, strict=True):
        assert others == sorted(everything - mine)
    records = shared.records(search_id)
    assert [(record.number, record.objective) for record in records] == [(n, float(n)) for n in range(200)]


@pytest.mark.slow
def test_a_cap_is_exact_over_processes(shared: Storage) -> None:
    search_id = shared.create_new_search()
    with workloads(3, "spend_cap", shared, search_id, 50) as processes:
        for process in processes:
            assert process.line() == "ready"
        for process in processes:
            process.go()
        taken = [int(number) for process in processes for line in process.rest() for number in line.split()]
    assert sorted(taken) == list(range(50))


def _survives_a_kill(storage: Storage, rng: random.Random) -> None:
    search_id = storage.create_new_search()
    with workloads(1, "run_until_killed", storage, search_id) as [process]:
        said = [process.line() for _ in range(rng.randrange(1, 40))]
        threading.Event().wait(rng.random() * 0.002)  # anywhere in the next round
        said += process.kill()

    gathered = [int(number) for line in said for number in line.split()]
    records = {record.number: record for record in storage.records(search_id)}
    for number in gathered:
        assert records[number].status is JobStatus.DONE
        assert records[number].objective == float(number)
        assert records[number].timestamp_gather == 1.0
    # And the store goes on: what was left is ours, new numbers are new.
    heir = new_owner()
    storage.lease(search_id, heir, ttl=3600)
    lost = [record.number for record in records.values() if record.status is not JobStatus.DONE]
    assert [record.number for record in storage.claim_lost(search_id, heir)] == lost
    assert storage.reserve(search_id, 1) > max(records)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_any_moment_loses_nothing_that_was_gathered(durable: Storage, seed: int) -> None:
    _survives_a_kill(durable, random.Random(seed))


@pytest.mark.stress
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 23))
def test_twenty_kills_lose_nothing_that_was_gathered(durable: Storage, seed: int) -> None:
    _survives_a_kill(durable, random.Random(seed))


@pytest.mark.slow
def test_the_jobs_of_a_killed_owner_are_claimed_at_once_each_by_one(shared: Storage) -> None:
    search_id = shared.create_new_search()
    with workloads(1, "leave_jobs", shared, search_id, 30) as [owner]:
        name = owner.line()
        assert owner.line() == "ready"
        assert shared.claim_lost(search_id, new_owner()) == []  # it lives
        owner.kill()
        with workloads(3, "claim", shared, search_id) as processes:
            for process in processes:
                assert process.line() == "ready"
            for process in processes:
                process.go()
            claimed = [[int(number) for number in process.line().split()] for process in processes]
            assert sorted(chain.from_iterable(claimed)) == list(range(30))
            records = shared.records(search_id)
            assert {record.status for record in records} == {JobStatus.READY}
            assert name not in {record.owner for record in records}
            # The late result of the dead owner's attempt.
            data = {"status": "DONE", "objective": 1.0, "attempts": 1}
            shared.append([Event("finished", search_id, 0, data)])
            assert shared.load_job_status(f"{search_id}.0") is JobStatus.READY


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_is_a_client_of_its_own(shared: Storage) -> None:
    search_id = shared.create_new_search()
    shared.append_soon([Event("created", search_id, shared.reserve(search_id, 1), {"args": {}})])
    child = os.fork()
    if child == 0:
        try:
            number = shared.reserve(search_id, 1)
            shared.append([Event("created", search_id, number, {"args": {"child": True}})])
            shared.append_soon([Event("metadata", search_id, number, {"pid": os.getpid()})])
            shared.close()
            os._exit(0 if number == 1 else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    shared.flush()
    assert shared.reserve(search_id, 1) == 2
    assert shared.load_metadata_from_all_jobs(search_id, "pid") == [child]
    assert [record.configuration for record in shared.records(search_id)] == [{}, {"child": True}]


@pytest.mark.slow
def test_a_stopped_owner_keeps_its_jobs_until_its_lease_ends(shared: Storage) -> None:
    search_id = shared.create_new_search()
    heir = new_owner()
    shared.lease(search_id, heir, ttl=3600)
    with workloads(1, "leave_jobs", shared, search_id, 1) as [owner]:
        name = owner.line()
        assert owner.line() == "ready"
        os.kill(owner.process.pid, signal.SIGSTOP)
        assert shared.claim_lost(search_id, heir) == []
        shared.renew(search_id, name, ttl=0)
        assert [record.number for record in shared.claim_lost(search_id, heir)] == [0]
