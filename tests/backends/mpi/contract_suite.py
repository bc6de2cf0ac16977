"""The contracts of backends and storages on MPI ranks; run under mpirun by `test_contract.py`."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from evalpool import MPICommEvaluator
from evalpool.storage import MPIStorage, Storage
from evalpool.storage._counters import Counters
from evalpool.testing import EvaluatorContract, StorageContract


class TestRanks(EvaluatorContract):
    evaluator_class = MPICommEvaluator


class TestIsolatedRanks(EvaluatorContract):
    evaluator_class = MPICommEvaluator
    survives_crashes = True
    kills = True
    test_twenty_crashes_in_a_hundred_cost_twenty_jobs = None  # each costs the start of a child: 20 s
    test_a_result_of_500_mb_arrives = None  # as without isolation

    def evaluator_kwargs(self) -> dict[str, Any]:
        return {"isolation": "process"}


@pytest.fixture(scope="module")
def served() -> Iterator[MPIStorage]:
    """One for all tests: each is served for as long as its ranks live."""
    with MPIStorage() as storage:
        yield storage


@pytest.fixture
def emptied(served: MPIStorage) -> MPIStorage:
    assert served._log is not None
    served._log.clear()
    served._counters = Counters()
    Storage.__init__(served)  # what it has read, too
    return served


class TestMPIStorageOnTheRoot(StorageContract):
    @pytest.fixture
    def storage(self, emptied: MPIStorage) -> Storage:
        return emptied


class TestMPIStorageOnARank(StorageContract):
    @pytest.fixture
    def storage(self, emptied: MPIStorage) -> Iterator[Storage]:
        """A client: each of its requests is a message."""
        with pickle.loads(pickle.dumps(emptied)) as client:
            yield client
