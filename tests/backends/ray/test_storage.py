"""RayStorage keeps the contract of storages, and other drivers find it by its name."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from evalpool import BadArgument, RayEvaluator, RunningJob
from evalpool.errors import StorageUnavailable
from evalpool.storage import RayStorage, Storage
from evalpool.testing import StorageContract


@pytest.fixture(scope="module")
def served(cluster: Any) -> Iterator[RayStorage]:
    with RayStorage() as storage:
        yield storage


class TestRayStorage(StorageContract):
    @pytest.fixture
    def storage(self, cluster: Any, served: RayStorage) -> Iterator[Storage]:
        """A new client of one actor that is emptied before: starting an actor takes a second."""
        cluster.get(served._made.__ray_call__.remote(lambda actor: actor.__init__()))
        with RayStorage(name=served.name) as storage:
            yield storage


OTHER_DRIVER = """
import sys, ray, warnings
warnings.simplefilter("ignore")
ray.init(address=sys.argv[1], log_to_driver=False)
from evalpool.storage import RayStorage
if sys.argv[2] == "make":
    storage = RayStorage(lifetime="detached")
    print("NAME", storage.name, storage.create_new_search())
else:
    with RayStorage(name=sys.argv[2]) as storage:
        job = storage.create_new_job("0")
        storage.store_job_out(job, {"objective": 1.5})
    print("NAME", job)
"""


def other_driver(ray: Any, what: str) -> list[str]:
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-c", OTHER_DRIVER, address, what], capture_output=True, text=True, timeout=60, check=True
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("NAME")]
    return line.split()[1:]


@pytest.mark.slow
def test_another_driver_attaches_by_name(cluster: Any) -> None:
    with RayStorage() as storage:
        search = storage.create_new_search()
        (job,) = other_driver(cluster, storage.name)
        assert job == f"{search}.0"
        assert storage.load_job(job)["out"] == {"objective": 1.5}


@pytest.mark.slow
def test_a_detached_storage_survives_its_maker_until_it_is_deleted(cluster: Any) -> None:
    name, search = other_driver(cluster, "make")
    with RayStorage(name=name) as storage:
        assert storage.load_all_search_ids() == [search]
    with RayStorage(name=name) as storage:
        storage.delete()
        with pytest.raises(StorageUnavailable, match=name):
            storage.create_new_search()


def test_a_storage_ends_when_its_maker_closes_it_and_clients_are_told(cluster: Any) -> None:
    with RayStorage() as storage:
        client = pickle.loads(pickle.dumps(storage))
        search = storage.create_new_search()
        assert client.load_all_search_ids() == [search]
    with pytest.raises(StorageUnavailable, match=storage.name):
        client.create_new_search()
    client.close()
    with pytest.raises(StorageUnavailable, match=storage.name):
        RayStorage(name=storage.name)


def test_two_storages_have_nothing_in_common(cluster: Any) -> None:
    with RayStorage() as one, RayStorage() as other:
        one.create_new_search()
        assert other.load_all_search_ids() == []


def test_jobs_reach_it_from_their_workers(cluster: Any) -> None:
    def run(job: RunningJob) -> float:
        job.storage.store_search_value("0", f"seen-{job['x']}", job["x"])
        return float(job["x"])

    with RayStorage() as storage, RayEvaluator(run, num_workers=2, storage=storage) as evaluator:
        evaluator.submit([{"x": n} for n in range(4)])
        assert sorted(job.objective for job in evaluator.gather()) == [0.0, 1.0, 2.0, 3.0]
        assert [storage.load_search_value("0", f"seen-{n}") for n in range(4)] == [0, 1, 2, 3]
        assert len(storage.records("0")) == 4


@pytest.mark.parametrize("kwargs", [{"lifetime": "long"}, {"name": "there", "lifetime": "detached"}])
def test_wrong_arguments_are_refused(kwargs: Any) -> None:
    with pytest.raises(BadArgument, match="lifetime"):
        RayStorage(**kwargs)
