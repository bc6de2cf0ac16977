"""Who an owner is, and when it is gone."""

import os
import subprocess
import sys

import pytest

from evalpool.errors import BadArgument
from evalpool.storage import Event, MemoryStorage, new_owner
from evalpool.storage._leases import owner_is_gone


def test_each_owner_is_another_and_lives_with_its_process() -> None:
    first, second = new_owner(), new_owner()
    assert first != second
    assert not owner_is_gone(first)


@pytest.mark.slow
def test_an_owner_is_gone_with_its_process_even_as_a_zombie() -> None:
    code = "from evalpool.storage import new_owner; print(new_owner(), flush=True); input()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        assert not owner_is_gone(owner)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert owner_is_gone(owner)  # not yet reaped
    assert owner_is_gone(owner)


def test_a_process_id_that_was_used_again_is_another_owner() -> None:
    owner = new_owner()
    place, _, start = owner.rpartition("/")
    assert owner_is_gone(f"{place}/{int(start) - 1}")


@pytest.mark.parametrize("owner", ["abc", "", "x@elsewhere+1+2/1/1", "x@/1", "me@host/notapid/3"])
def test_of_an_owner_elsewhere_or_of_another_form_nothing_is_known(owner: str) -> None:
    assert not owner_is_gone(owner)


def test_an_owner_on_this_machine_before_it_booted_is_judged_by_its_lease_alone() -> None:
    uuid, _, place = new_owner().partition("@")
    machine, pid, start = place.split("/")
    other_boot = machine.replace(machine.split("+")[1], "00000000")
    assert not owner_is_gone(f"{uuid}@{other_boot}/{pid}/{int(start) - 1}")


@pytest.mark.parametrize("ttl", [-1, float("nan")])
def test_a_lease_of_no_duration_is_refused(ttl: float) -> None:
    storage = MemoryStorage()
    with pytest.raises(BadArgument, match="lease"):
        storage.lease(storage.create_new_search(), "me", ttl=ttl)


def test_jobs_kept_by_hand_and_jobs_being_cancelled_are_never_claimed() -> None:
    storage = MemoryStorage()
    search_id = storage.create_new_search()
    storage.create_new_job(search_id)
    storage.append([Event("created", search_id, storage.reserve(search_id, 1), {"owner": "gone"})])
    storage.store_job_status("0.1", "CANCELLING")
    assert storage.claim_lost(search_id, new_owner()) == []


def test_a_claimed_job_can_be_lost_and_claimed_again() -> None:
    storage = MemoryStorage()
    search_id = storage.create_new_search()
    storage.append([Event("created", search_id, storage.reserve(search_id, 1), {"owner": "first"})])
    for attempts, owner in ((1, "second"), (2, "third")):
        [record] = storage.claim_lost(search_id, owner)
        assert (record.attempts, record.owner) == (attempts, owner)
