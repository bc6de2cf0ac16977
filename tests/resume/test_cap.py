"""The cap on submissions counts jobs, also where clients died between taking numbers and recording jobs."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from evalpool import Evaluator, MaximumJobsSpawnReached
from evalpool.storage import Event, Storage, new_owner, storage_from_url

CAP = 30

DIES = """
import os, sys
from evalpool import Evaluator
from evalpool.storage import storage_from_url

storage = storage_from_url(sys.argv[1])
evaluator = Evaluator.create(lambda job: 1.0, "serial", {"storage": storage})
evaluator.set_maximum_num_jobs_submitted(int(sys.argv[2]))
evaluator.submit([{"x": x} for x in range(5)])
evaluator.gather()
really = storage.reserve
storage.reserve = lambda *args, **options: (really(*args, **options), os._exit(9))
evaluator.submit([{"x": x} for x in range(7)])
"""


def _search_until_refused(url: str, size: int, ready: threading.Barrier) -> str:
    with storage_from_url(url) as storage:
        options = {"storage": storage, "search_id": "latest"}
        with Evaluator.create(lambda job: 1.0, "thread", options) as evaluator:
            evaluator.set_maximum_num_jobs_submitted(CAP)
            evaluator.submit([{"x": 0}])
            ready.wait(60)
            try:
                while True:
                    evaluator.submit([{"x": x} for x in range(size)])
                    evaluator.gather()
            except MaximumJobsSpawnReached as error:
                return str(error)
            finally:
                ready.wait(60)  # each lives until all are refused


@pytest.mark.slow
@pytest.mark.parametrize("clients", [1, 3])
def test_a_capped_search_ends_with_all_its_jobs_though_a_client_died_with_numbers(url: str, clients: int) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, url, str(CAP)], timeout=60)
    assert died.returncode == 9
    ready = threading.Barrier(clients)
    with ThreadPoolExecutor(clients) as pool:
        said = list(pool.map(lambda _: _search_until_refused(url, 1, ready), range(clients), timeout=60))
    assert all(f"has {CAP} jobs over all its clients and may have {CAP}: 1 more" in text for text in said)
    with storage_from_url(url) as storage:
        assert len(storage.results()) == CAP


def test_numbers_that_a_living_client_may_be_about_to_record_count(durable: Storage) -> None:
    search = durable.create_new_search()
    other = new_owner()
    durable.lease(search, other, 60)
    with Evaluator.create(lambda job: 1.0, "serial", {"storage": durable, "search_id": search}) as evaluator:
        evaluator.set_maximum_num_jobs_submitted(5)
        evaluator.submit([{"x": 0}])
        first = durable.reserve(search, 3, cap=5)  # by the other, in the middle of its submission
        evaluator.submit([{"x": 0}])
        with pytest.raises(MaximumJobsSpawnReached):
            evaluator.submit([{"x": 0}])
        created = [Event("created", search, first + n, {"args": {}, "owner": other}) for n in range(3)]
        durable.append(created)
        with pytest.raises(MaximumJobsSpawnReached, match="has 5 jobs over all its clients and may have 5"):
            evaluator.submit([{"x": 0}])


def test_numbers_of_a_client_that_has_recorded_later_ones_are_free_again(durable: Storage) -> None:
    search = durable.create_new_search()
    other = new_owner()
    durable.lease(search, other, 60)
    with Evaluator.create(lambda job: 1.0, "serial", {"storage": durable, "search_id": search}) as evaluator:
        evaluator.set_maximum_num_jobs_submitted(5)
        durable.reserve(search, 3, cap=5)  # its commit failed
        number = durable.reserve(search, 1, cap=5)
        durable.append([Event("created", search, number, {"args": {}, "owner": other})])
        assert [job.id for job in evaluator.submit([{"x": x} for x in range(4)])] == [f"0.{n}" for n in range(4, 8)]
        with pytest.raises(MaximumJobsSpawnReached, match="has 5 jobs"):
            evaluator.submit([{"x": 0}])
